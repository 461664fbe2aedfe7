//! The watch over a training: losses that are not numbers or explode, a discriminator that has
//! nothing left to learn, a generator whose maps are all the same.
//!
//! - Losses. A binary cross-entropy of `x` is a mean logit of about `-x` on the wrong side. Logits of
//!   healthy runs stay below some 20; beyond 1000 weights have exploded, though f32 still holds them.
//! - Saturation. A discriminator whose losses on real and on generated maps are both `x` has
//!   gradients of `1 - exp(-x)` at its logits, against 1/2 at chance: below 0.005 it hardly learns,
//!   and tells the generator only that everything is wrong. It may be so for a while, hence nine in
//!   ten of the last 512 steps, which also bears labels that are swapped once in ten steps.
//! - Collapse. The variance of a pixel over maps, averaged over pixels, in the generator's range:
//!   below a thousandth of that of real maps the maps differ by 3% of what they should. Generators
//!   that collapsed had 1e-4 or nothing at all, untrained ones 0.012.
//!
//! Of 3000 steps of the demo and 2500 with the torch convention (2026-11-23), none had both of the
//! discriminator's losses below 0.029, no loss was above 8.5 (18 in the first steps of `paper-64`), and
//! no validation found less than 0.055 of the variance.

use serde::{Deserialize, Serialize};

use super::trainer::Losses;

/// A loss beyond this has exploded.
const EXPLODED: f64 = 1000.0;
/// Below this on real and on generated maps, a discriminator's step is a saturated one.
const SATURATED: f64 = 0.005;
/// Steps that are looked back on.
pub(super) const WINDOW: u64 = 64 * WORDS as u64;
const WORDS: usize = 8;
/// Saturated steps among them that are too many: nine in ten.
const TOO_MANY: u32 = (WINDOW * 9 / 10) as u32;
/// Least variance across generated maps, as a share of that of real maps.
const COLLAPSED: f64 = 1e-3;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    NotFinite {
        d_loss: f64,
        g_loss: f64,
    },
    Exploded {
        d_loss: f64,
        g_loss: f64,
    },
    /// A tensor of the state, though the losses were finite.
    NotFiniteState {
        tensor: String,
    },
    /// Saturated steps in the window.
    Saturated {
        steps: u32,
    },
    /// `share` is of the variance across real maps.
    Collapsed {
        share: f64,
        constant: bool,
    },
    NotFiniteMaps,
}

impl Trouble {
    /// Whether nothing can come after it. The rest is judgement, and can be switched off.
    pub fn is_certain(&self) -> bool {
        match self {
            Self::NotFinite { .. } | Self::NotFiniteState { .. } | Self::NotFiniteMaps => true,
            Self::Exploded { .. } | Self::Saturated { .. } | Self::Collapsed { .. } => false,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::NotFinite { d_loss, g_loss } => write!(
                f,
                "the losses are {d_loss} (discriminator) and {g_loss} (generator)"
            ),
            Self::Exploded { d_loss, g_loss } => write!(
                f,
                "the losses exploded to {d_loss:.3e} (discriminator) and {g_loss:.3e} (generator)"
            ),
            Self::NotFiniteState { tensor } => {
                write!(f, "{tensor} holds a value that is not finite")
            }
            Self::Saturated { steps } => write!(
                f,
                "the discriminator is saturated: its losses on real and on generated maps were both \
                 below {SATURATED} in {steps} of the last {WINDOW} steps"
            ),
            Self::Collapsed { share, constant } => {
                let how = if *constant {
                    "its maps are constant"
                } else {
                    "its maps are nearly identical"
                };
                write!(
                    f,
                    "the generator collapsed: {how}, the variance across them is {share:.1e} of that \
                     of real maps"
                )
            }
            Self::NotFiniteMaps => write!(f, "generated maps hold values that are not finite"),
        }
    }
}

/// What the watch remembers between steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchState {
    /// A bit a step, at its number modulo the window: whether it was saturated.
    saturated: [u64; WORDS],
    /// The step of the last validation with maps as varied as they should be; 0 before the first.
    varied_at: u64,
}

impl WatchState {
    /// Looks at the losses of `step`.
    pub fn losses(&mut self, step: u64, losses: &Losses) -> Option<Trouble> {
        let Losses { d_loss, g_loss, .. } = *losses;
        if !losses.are_finite() {
            return Some(Trouble::NotFinite { d_loss, g_loss });
        }
        if d_loss > EXPLODED || g_loss > EXPLODED {
            return Some(Trouble::Exploded { d_loss, g_loss });
        }
        let saturated = losses.d_loss_real < SATURATED && losses.d_loss_fake < SATURATED;
        let (word, bit) = ((step % WINDOW / 64) as usize, 1 << (step % 64));
        self.saturated[word] &= !bit;
        if saturated {
            self.saturated[word] |= bit;
        }
        let steps = self.saturated_steps();
        (steps >= TOO_MANY).then_some(Trouble::Saturated { steps })
    }

    /// Looks at the generated maps of `step`.
    pub fn maps(&mut self, step: u64, generated: &Spread, real: &Spread) -> Option<Trouble> {
        if !generated.across.is_finite() {
            return Some(Trouble::NotFiniteMaps);
        }
        let share = generated.across / real.across;
        if share < COLLAPSED {
            let constant = generated.within < COLLAPSED * real.within;
            return Some(Trouble::Collapsed { share, constant });
        }
        self.varied_at = step;
        None
    }

    /// The last step, up to `step`, of which nothing speaks against its state.
    pub fn sound_until(&self, step: u64, trouble: Option<&Trouble>) -> u64 {
        let saturated = matches!(trouble, Some(Trouble::Saturated { .. }));
        let uneasy = saturated || self.saturated_steps() > TOO_MANY / 2;
        let by_losses = if uneasy {
            step.saturating_sub(WINDOW)
        } else {
            step
        };
        match trouble {
            Some(Trouble::Collapsed { .. } | Trouble::NotFiniteMaps) => {
                by_losses.min(self.varied_at)
            }
            _ => by_losses,
        }
    }

    /// After a return to `step`: a discriminator that was saturated gets a whole window of time to
    /// recover with other rates.
    pub fn begin_anew(&mut self, step: u64) {
        self.saturated = Default::default();
        self.varied_at = self.varied_at.min(step);
    }

    /// The step whose checkpoint a collapse found at the next validation would lead back to, or a
    /// saturation that has begun.
    pub fn way_back(&self, step: u64) -> u64 {
        self.sound_until(step, None).min(self.varied_at)
    }

    fn saturated_steps(&self) -> u32 {
        self.saturated.iter().map(|word| word.count_ones()).sum()
    }
}

/// Variances of maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Of a pixel over maps, averaged over pixels.
    pub across: f64,
    /// Of the pixels of a map, averaged over maps.
    pub within: f64,
}

impl Spread {
    /// Of `maps` `[n, map_len]`.
    pub fn of(maps: &[f32], map_len: usize) -> Self {
        let count = maps.len() / map_len;
        let mut pixels = vec![Moments::default(); map_len];
        let mut within = 0.0;
        for map in maps.chunks_exact(map_len) {
            let mut moments = Moments::default();
            for (pixel, value) in pixels.iter_mut().zip(map) {
                moments.add(f64::from(*value));
                pixel.add(f64::from(*value));
            }
            within += moments.variance() / count as f64;
        }
        let across = pixels.iter().map(Moments::variance).sum::<f64>() / map_len as f64;
        Self { across, within }
    }
}

/// Running mean and sum of squared deviations (Welford 1962): equal values have no variance at all.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / self.count
    }
}
