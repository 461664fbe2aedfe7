//! Every form (opcode with modifiers) that the emulator takes, against references written from the
//! ISA's text.

mod atomics;
mod block;
mod compare;
mod control;
mod convert;
mod exact;
mod float;
mod harness;
mod integer;
mod memory;
mod meter;
mod tensor;
mod warp;
