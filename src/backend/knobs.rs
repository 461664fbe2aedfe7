//! The knobs of single operations: Adam's constants and the label flip.

use serde::{Deserialize, Serialize};

/// What a label flip swaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlipUnit {
    /// One draw a step: real and fake labels of the whole batch swap together.
    Batch,
    /// One draw for each real and each fake sample.
    Sample,
}

/// Random swapping of the discriminator's labels. The generator's labels never flip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelFlip {
    pub probability: f64,
    pub per: FlipUnit,
}

/// Where Adam adds epsilon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpsilonForm {
    /// TensorFlow: `lr sqrt(1-b2^t)/(1-b1^t) m / (sqrt(v) + eps)`, outside the bias correction.
    Outside,
    /// PyTorch: `lr m_hat / (sqrt(v_hat) + eps)`, both bias-corrected.
    Corrected,
}

/// Adam's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub epsilon_form: EpsilonForm,
}
