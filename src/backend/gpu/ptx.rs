//! The kernels, as PTX.

/// One file of kernels.
#[derive(Clone, Copy, Debug)]
pub struct PtxModule {
    /// The source file under `kernels/`.
    pub file: &'static str,
    pub text: &'static str,
}

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        /// All kernels.
        pub const MODULES: &[PtxModule] = &[$(PtxModule {
            file: concat!("kernels/", $name, ".cu"),
            text: include_str!(concat!("../../../kernels/ptx/", $name, ".ptx")),
        }),*];
    };
}

modules![
    "few_channels_dgrad",
    "few_channels_fprop",
    "few_channels_wgrad",
    "strided_dgrad_v1",
    "strided_dgrad_v2",
    "strided_fprop_v1",
    "strided_fprop_v2",
    "strided_wgrad_v1",
    "strided_wgrad_v2",
    "sum_partials",
];
