//! Floating-point arithmetic by integers: an exact result, then one rounding. The reference of all
//! operations that IEEE 754 defines.

/// A binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub bits: u32,
    /// Stored bits of the significand.
    pub fraction: u32,
}

pub const F16: Format = Format {
    bits: 16,
    fraction: 10,
};
pub const BF16: Format = Format {
    bits: 16,
    fraction: 7,
};
pub const F32: Format = Format {
    bits: 32,
    fraction: 23,
};
pub const F64: Format = Format {
    bits: 64,
    fraction: 52,
};

impl Format {
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "f16" => F16,
            "bf16" => BF16,
            "f32" => F32,
            "f64" => F64,
            _ => return None,
        })
    }

    pub fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    pub fn infinity(self) -> u64 {
        self.sign() - (1 << self.fraction)
    }

    pub fn one(self) -> u64 {
        (self.infinity() >> 1) & !((1 << self.fraction) - 1)
    }

    fn bias(self) -> i32 {
        (1 << (self.bits - self.fraction - 2)) - 1
    }

    pub fn is_nan(self, x: u64) -> bool {
        x & (self.sign() - 1) > self.infinity()
    }

    /// The NaN that operations give; f64 keeps none in particular.
    pub fn nan(self) -> u64 {
        self.sign() - 1
    }

    /// Subnormal numbers become zeros.
    pub fn flush(self, x: u64) -> u64 {
        let tiny = x & (self.sign() - 1) < 1 << self.fraction;
        if tiny { x & self.sign() } else { x }
    }

    pub fn open(self, x: u64) -> Number {
        let negative = x & self.sign() != 0;
        let magnitude = x & (self.sign() - 1);
        if magnitude > self.infinity() {
            return Number::Nan;
        }
        if magnitude == self.infinity() {
            return Number::Infinite { negative };
        }
        let exponent = (magnitude >> self.fraction) as i32;
        let stored = u128::from(magnitude & ((1 << self.fraction) - 1));
        let hidden = u128::from(exponent > 0) << self.fraction;
        Number::Finite(Exact {
            negative,
            significand: stored | hidden,
            exponent: exponent.max(1) - self.bias() - self.fraction as i32,
            more: false,
        })
    }
}

/// To which neighbour a result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Nearest,
    Zero,
    Down,
    Up,
}

impl Mode {
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "rn" | "rni" => Self::Nearest,
            "rz" | "rzi" => Self::Zero,
            "rm" | "rmi" => Self::Down,
            "rp" | "rpi" => Self::Up,
            _ => return None,
        })
    }

    /// Whether the magnitude grows by one unit.
    fn grows(self, negative: bool, odd: bool, half: std::cmp::Ordering, exact: bool) -> bool {
        use std::cmp::Ordering::{Equal, Greater};
        match self {
            Self::Nearest => half == Greater || half == Equal && odd,
            Self::Zero => false,
            Self::Down => !exact && negative,
            Self::Up => !exact && !negative,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Number {
    Nan,
    Infinite { negative: bool },
    Finite(Exact),
}

/// `significand * 2^exponent`, and a little `more` than that (less than a unit) in magnitude.
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    pub negative: bool,
    pub significand: u128,
    pub exponent: i32,
    pub more: bool,
}

impl Exact {
    /// Moves the significand's top bit to bit 125, so that only bits that round are ever lost.
    fn raised(mut self) -> Self {
        let shift = self.significand.leading_zeros() as i32 - 2;
        if self.significand != 0 && shift > 0 {
            self.significand <<= shift;
            self.exponent -= shift;
        }
        self
    }

    /// The whole part after division by `2^shift`, how the rest compares with a half, and whether
    /// there is no rest.
    fn split(self, shift: i32) -> (u128, std::cmp::Ordering, bool) {
        use std::cmp::Ordering::{Equal, Greater, Less};
        if shift <= 0 {
            assert!(!self.more, "a rest needs guard bits");
            return (self.significand << -shift, Less, true);
        }
        if shift > 127 {
            return (0, Less, self.significand == 0 && !self.more);
        }
        let rest = self.significand & ((1 << shift) - 1);
        let half = match rest.cmp(&(1 << (shift - 1))) {
            Equal if self.more => Greater,
            other => other,
        };
        (self.significand >> shift, half, rest == 0 && !self.more)
    }

    pub fn round(self, format: Format, mode: Mode) -> u64 {
        let sign = if self.negative { format.sign() } else { 0 };
        if self.significand == 0 && !self.more {
            return sign;
        }
        let number = self.raised();
        let top = 127 - number.significand.leading_zeros() as i32 + number.exponent;
        let lowest = 1 - format.bias() - format.fraction as i32;
        let unit = (top - format.fraction as i32).max(lowest);
        let (whole, half, exact) = number.split(unit - number.exponent);
        let grown =
            whole as u64 + u64::from(mode.grows(self.negative, whole & 1 == 1, half, exact));
        let magnitude = u128::from(grown) + (((unit - lowest) as u128) << format.fraction);
        if magnitude < u128::from(format.infinity()) {
            return sign | magnitude as u64;
        }
        let infinite = match mode {
            Mode::Nearest => true,
            Mode::Zero => false,
            Mode::Down => self.negative,
            Mode::Up => !self.negative,
        };
        sign | (format.infinity() - u64::from(!infinite))
    }

    /// As an integer, which must fit well into 120 bits; saturated far beyond any integer type.
    pub fn integer(self, mode: Mode) -> i128 {
        if self.significand == 0 {
            return 0;
        }
        let top = 127 - self.significand.leading_zeros() as i32 + self.exponent;
        let magnitude = if top > 100 {
            1 << 100
        } else {
            let (whole, half, exact) = self.split(-self.exponent);
            (whole + u128::from(mode.grows(self.negative, whole & 1 == 1, half, exact))) as i128
        };
        if self.negative { -magnitude } else { magnitude }
    }
}

/// An integer, exactly.
pub fn from_integer(x: i128) -> Exact {
    Exact {
        negative: x < 0,
        significand: x.unsigned_abs(),
        exponent: 0,
        more: false,
    }
}

fn plus(a: Exact, b: Exact, mode: Mode) -> Exact {
    if a.significand == 0 && b.significand == 0 {
        let negative = if a.negative == b.negative {
            a.negative
        } else {
            mode == Mode::Down
        };
        return Exact { negative, ..a };
    }
    if a.significand == 0 {
        return b;
    }
    if b.significand == 0 {
        return a;
    }
    let (a, b) = (a.raised(), b.raised());
    let (large, small) = if a.exponent >= b.exponent {
        (a, b)
    } else {
        (b, a)
    };
    let distance = large.exponent - small.exponent;
    let (shifted, more) = match distance {
        0..=126 => {
            let shifted = small.significand >> distance;
            (shifted, shifted << distance != small.significand)
        }
        _ => (0, true),
    };
    if large.negative == small.negative {
        let significand = large.significand + shifted;
        return Exact {
            significand,
            more,
            ..large
        };
    }
    if large.significand == shifted && !more {
        return Exact {
            negative: mode == Mode::Down,
            significand: 0,
            exponent: 0,
            more: false,
        };
    }
    if large.significand >= shifted {
        // What was cut off is subtracted too: one unit less, and a little more than that.
        let significand = large.significand - shifted - u128::from(more);
        return Exact {
            significand,
            more,
            ..large
        };
    }
    Exact {
        negative: small.negative,
        significand: shifted - large.significand,
        more,
        exponent: large.exponent,
    }
}

fn times(a: Exact, b: Exact) -> Exact {
    Exact {
        negative: a.negative != b.negative,
        significand: a.significand * b.significand,
        exponent: a.exponent + b.exponent,
        more: false,
    }
}

/// a b + c.
pub fn fma(format: Format, mode: Mode, a: u64, b: u64, c: u64) -> u64 {
    let product = product(format.open(a), format.open(b));
    close(format, mode, sum(product, format.open(c), mode))
}

fn product(a: Number, b: Number) -> Number {
    use Number::{Finite, Infinite, Nan};
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite { negative }, Infinite { negative: other }) => Infinite {
            negative: negative != other,
        },
        (Infinite { negative }, Finite(x)) | (Finite(x), Infinite { negative }) => {
            if x.significand == 0 {
                Nan
            } else {
                Infinite {
                    negative: negative != x.negative,
                }
            }
        }
        (Finite(a), Finite(b)) => Finite(times(a, b)),
    }
}

fn sum(a: Number, b: Number, mode: Mode) -> Number {
    use Number::{Finite, Infinite, Nan};
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite { negative }, Infinite { negative: other }) if negative != other => Nan,
        (infinite @ Infinite { .. }, _) | (_, infinite @ Infinite { .. }) => infinite,
        (Finite(a), Finite(b)) => Finite(plus(a, b, mode)),
    }
}

fn close(format: Format, mode: Mode, number: Number) -> u64 {
    match number {
        Number::Nan => format.nan(),
        Number::Infinite { negative } => {
            format.infinity() | if negative { format.sign() } else { 0 }
        }
        Number::Finite(exact) => exact.round(format, mode),
    }
}

pub fn add(format: Format, mode: Mode, a: u64, b: u64) -> u64 {
    close(format, mode, sum(format.open(a), format.open(b), mode))
}

pub fn mul(format: Format, mode: Mode, a: u64, b: u64) -> u64 {
    close(format, mode, product(format.open(a), format.open(b)))
}

pub fn div(format: Format, mode: Mode, a: u64, b: u64) -> u64 {
    use Number::{Finite, Infinite, Nan};
    let number = match (format.open(a), format.open(b)) {
        (Nan, _) | (_, Nan) | (Infinite { .. }, Infinite { .. }) => Nan,
        (Infinite { negative }, Finite(b)) => Infinite {
            negative: negative != b.negative,
        },
        (Finite(a), Infinite { negative }) => Finite(Exact {
            negative: a.negative != negative,
            significand: 0,
            ..a
        }),
        (Finite(a), Finite(b)) if b.significand == 0 => {
            if a.significand == 0 {
                Nan
            } else {
                Infinite {
                    negative: a.negative != b.negative,
                }
            }
        }
        (Finite(a), Finite(b)) => {
            let a = a.raised();
            Finite(Exact {
                negative: a.negative != b.negative,
                significand: a.significand / b.significand,
                exponent: a.exponent - b.exponent,
                more: !a.significand.is_multiple_of(b.significand),
            })
        }
    };
    close(format, mode, number)
}

pub fn sqrt(format: Format, mode: Mode, a: u64) -> u64 {
    use Number::{Finite, Infinite, Nan};
    let number = match format.open(a) {
        Finite(a) if a.significand == 0 => Finite(a),
        Infinite { negative: false } => Infinite { negative: false },
        Finite(a) if !a.negative => {
            let mut a = a.raised();
            if a.exponent % 2 != 0 {
                a.significand *= 2;
                a.exponent -= 1;
            }
            let root = a.significand.isqrt();
            Finite(Exact {
                significand: root,
                exponent: a.exponent / 2,
                more: root * root != a.significand,
                ..a
            })
        }
        _ => Nan,
    };
    close(format, mode, number)
}

/// From one format to another.
pub fn convert(from: Format, to: Format, mode: Mode, a: u64) -> u64 {
    close(to, mode, from.open(a))
}

/// To an integral value of the same format.
pub fn integral(format: Format, mode: Mode, a: u64) -> u64 {
    match format.open(a) {
        Number::Finite(exact) if exact.exponent < 0 && exact.significand != 0 => {
            let whole = from_integer(exact.integer(mode));
            Exact {
                negative: exact.negative,
                ..whole
            }
            .round(format, Mode::Nearest)
        }
        number => close(format, mode, number),
    }
}

/// Smaller or greater of two by the ISA: -0 lies below +0, a number goes before a NaN.
pub fn pick(format: Format, smaller: bool, nan: bool, a: u64, b: u64) -> u64 {
    match (format.is_nan(a), format.is_nan(b)) {
        (true, true) => return format.nan(),
        (true, false) => return if nan { format.nan() } else { b },
        (false, true) => return if nan { format.nan() } else { a },
        _ => {}
    }
    let key = |x: u64| {
        let magnitude = (x & (format.sign() - 1)) as i128;
        if x & format.sign() != 0 {
            -magnitude - 1
        } else {
            magnitude
        }
    };
    if (key(a) < key(b)) == smaller { a } else { b }
}

/// To [0, 1], NaN to 0.
pub fn saturate(format: Format, x: u64) -> u64 {
    if format.is_nan(x) || x & format.sign() != 0 {
        0
    } else {
        x.min(format.one())
    }
}
