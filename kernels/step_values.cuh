// What changes from step to step: `StepValues` of src/backend/gpu/ops/step.rs, field by field. It
// lies in device memory, so that a captured graph stays as it is.
#pragma once

struct AdamValues {
    float scale;    // rate sqrt(1 - beta2^t) / (1 - beta1^t)
    float epsilon;  // what sqrt(v) gets, in either form
};

struct StepValues {
    unsigned seed[2];
    unsigned step[2];
    AdamValues adam[2];  // generator, discriminator
    float average_decay;
    float average_rest;  // 1 - average_decay
};
