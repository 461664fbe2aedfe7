//! How good a generator is: generated maps against held-out real ones in every statistic of the
//! CosmoGAN paper, beside what two sets of real maps show (the noise floor), with calibrated p-values
//! and a verdict in words. Called by `cosmogan evaluate`; knows files of maps and a function that makes
//! maps, but nothing of networks.

mod compare;
mod distances;
mod error;
mod evaluation;
mod figures;
mod measure;
mod novelty;
mod pages;
mod panels;
mod paper;
mod phrases;
mod pixels;
mod run;
mod sets;
mod words;

pub use error::EvaluateError;
pub use evaluation::{
    Axis, Bin, BootstrapTests, ChiSquaredResult, Comparison, CovarianceNumbers, CovarianceResult,
    Evaluation, Grade, PixelResult, Sentence, SetInfo, Spread, StatisticResult, Tests, Verdict,
};
pub use measure::{Progress, Settings};
pub use novelty::{
    Features, FillFeatures, Kind, NearestKind, NearestResult, NoveltyResult, PairFound, PairsResult,
};
pub use paper::PaperCount;
pub use run::{Outcome, Request, evaluate};
pub use sets::{CropRules, FillMaps, MapSource, Pool, open, origin};
pub use words::verdict;
