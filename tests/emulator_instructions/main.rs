//! Instructions against scalar references written from the ISA's definitions, on random and edge
//! values.

mod approximate;
mod compare;
mod convert;
mod float;
mod half_precision;
mod harness;
mod integer;
