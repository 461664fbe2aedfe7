//! Approximate operations: correctly rounded by default, perturbed within the bounds of the ISA's
//! tables on request.

use super::harness::{B16, B32, COUNT, f, run_under, single};
use cosmogan::emulator::{Approximations, Options};
use cosmogan::rng::{Philox, Stream};
use half::{bf16, f16};
use rand::RngExt;

/// How far a result may be from the exact value.
#[derive(Clone, Copy)]
enum Bound {
    /// Units in the last place of f32.
    Ulps(f64),
    Relative(f64),
    Absolute(f64),
    /// Absolute between 1/2 and 2, else relative.
    Logarithm(f64),
}

impl Bound {
    fn allows(self, a: f64, exact: f64, result: f64) -> bool {
        let error = (result - exact).abs();
        match self {
            Self::Ulps(ulps) => error <= ulps * exact.abs().log2().floor().exp2() * 2f64.powi(-23),
            Self::Relative(bound) => error <= bound * exact.abs(),
            Self::Absolute(bound) => error <= bound,
            Self::Logarithm(bound) if a > 0.5 && a < 2.0 => error <= bound,
            Self::Logarithm(bound) => error <= bound * exact.abs(),
        }
    }
}

struct Case {
    instruction: &'static str,
    /// Sources are drawn between these, evenly in their logarithm, of either sign if the first is
    /// negative.
    range: (f64, f64),
    exact: fn(f64, f64) -> f64,
    bound: Bound,
}

fn case(
    instruction: &'static str,
    range: (f64, f64),
    exact: fn(f64, f64) -> f64,
    bound: Bound,
) -> Case {
    Case {
        instruction,
        range,
        exact,
        bound,
    }
}

fn two_to(exponent: f64) -> f64 {
    exponent.exp2()
}

/// Of f32, from the tables of the ISA.
fn singles() -> Vec<Case> {
    use Bound::{Absolute, Logarithm, Relative, Ulps};
    vec![
        case(
            "div.approx.f32 $d, $a, $b",
            (-1e-15, 1e15),
            |a, b| a / b,
            Ulps(2.0),
        ),
        case(
            "div.full.ftz.f32 $d, $a, $b",
            (-1e-15, 1e15),
            |a, b| a / b,
            Ulps(2.0),
        ),
        case(
            "rcp.approx.ftz.f32 $d, $a",
            (-1e-30, 1e30),
            |a, _| 1.0 / a,
            Ulps(1.0),
        ),
        case(
            "sqrt.approx.f32 $d, $a",
            (1e-30, 1e30),
            |a, _| a.sqrt(),
            Relative(two_to(-23.0)),
        ),
        case(
            "rsqrt.approx.f32 $d, $a",
            (1e-30, 1e30),
            |a, _| 1.0 / a.sqrt(),
            Relative(two_to(-22.9)),
        ),
        case(
            "ex2.approx.ftz.f32 $d, $a",
            (-1e-3, 120.0),
            |a, _| a.exp2(),
            Ulps(2.0),
        ),
        case(
            "lg2.approx.f32 $d, $a",
            (1e-30, 1e30),
            |a, _| a.log2(),
            Logarithm(two_to(-22.0)),
        ),
        case(
            "lg2.approx.f32 $d, $a",
            (0.4, 2.5),
            |a, _| a.log2(),
            Logarithm(two_to(-22.0)),
        ),
        case(
            "sin.approx.f32 $d, $a",
            (-1e-3, 6.25),
            |a, _| a.sin(),
            Absolute(two_to(-20.5)),
        ),
        case(
            "cos.approx.ftz.f32 $d, $a",
            (-1e-3, 6.25),
            |a, _| a.cos(),
            Absolute(two_to(-20.5)),
        ),
        case(
            "sin.approx.f32 $d, $a",
            (-6.0, 314.0),
            |a, _| a.sin(),
            Absolute(two_to(-14.7)),
        ),
        case(
            "tanh.approx.f32 $d, $a",
            (-1e-3, 10.0),
            |a, _| a.tanh(),
            Relative(two_to(-11.0)),
        ),
    ]
}

/// Of f16 and bf16.
fn halves() -> Vec<Case> {
    use Bound::{Absolute, Relative};
    vec![
        case(
            "ex2.approx.f16 $d, $a",
            (-0.01, 14.0),
            |a, _| a.exp2(),
            Relative(two_to(-9.9)),
        ),
        case(
            "tanh.approx.f16 $d, $a",
            (-0.01, 5.0),
            |a, _| a.tanh(),
            Absolute(two_to(-10.987)),
        ),
        case(
            "ex2.approx.ftz.bf16 $d, $a",
            (-0.01, 100.0),
            |a, _| a.exp2(),
            Relative(two_to(-7.0)),
        ),
        case(
            "tanh.approx.bf16 $d, $a",
            (-0.01, 5.0),
            |a, _| a.tanh(),
            Absolute(two_to(-8.0)),
        ),
    ]
}

fn options(approximations: Approximations) -> Options {
    Options {
        approximations,
        ..Options::default()
    }
}

/// Checks a case whose registers are of class `d`; `narrow` and `widen` go to its format and back.
fn check_case(case: &Case, sources: [&str; 3], narrow: fn(f64) -> u64, widen: fn(u64) -> f64) {
    let name = case.instruction;
    let stream = name
        .bytes()
        .fold(3, |all: u64, b| all * 31 % 1_000_003 + u64::from(b));
    let mut random = Philox::new(12, Stream::Benchmark, stream).sequential();
    let (low, high) = case.range;
    let mut draw = || {
        let magnitude = random.random_range(low.abs().ln()..high.ln()).exp();
        let negative = low < 0.0 && random.random::<bool>();
        narrow(if negative { -magnitude } else { magnitude })
    };
    let values = [(); 3].map(|()| (0..COUNT).map(|_| draw()).collect::<Vec<_>>());
    let go = |approximations| {
        let values = [&values[0][..], &values[1][..], &values[2][..]];
        run_under(
            options(approximations),
            &format!("{name};"),
            sources[0],
            sources,
            values,
        )
    };
    let nearest = go(Approximations::Exact);
    let one = go(Approximations::Perturbed(1));
    let mut moved = 0;
    for i in 0..COUNT {
        let [a, b] = [values[0][i], values[1][i]].map(widen);
        let exact = (case.exact)(a, b);
        assert_eq!(nearest[i], narrow(exact), "{name} of {a:e}, {b:e}");
        let result = widen(one[i]);
        assert!(
            case.bound.allows(a, exact, result),
            "{name} of {a:e}, {b:e}: {result:e}, not {exact:e}"
        );
        moved += usize::from(one[i] != nearest[i]);
    }
    assert!(
        moved > COUNT / 8,
        "{name}: only {moved} results of {COUNT} differ"
    );
    assert!(
        one == go(Approximations::Perturbed(1)),
        "{name}: a seed gives other results"
    );
    assert!(
        one != go(Approximations::Perturbed(2)),
        "{name}: seeds give the same results"
    );
}

#[test]
fn approximate_operations_of_f32_stay_within_the_bounds_of_the_isa() {
    for case in singles() {
        check_case(&case, B32, |x| single(x as f32), |x| f64::from(f(x)));
    }
}

#[test]
fn approximate_operations_of_f16_and_bf16_stay_within_the_bounds_of_the_isa() {
    for case in halves() {
        if case.instruction.contains("bf16") {
            let widen = |x: u64| bf16::from_bits(x as u16).to_f64();
            check_case(&case, B16, |x| bf16::from_f64(x).to_bits().into(), widen);
        } else {
            let widen = |x: u64| f16::from_bits(x as u16).to_f64();
            check_case(&case, B16, |x| f16::from_f64(x).to_bits().into(), widen);
        }
    }
}

#[test]
fn pairs_are_perturbed_as_their_halves_are() {
    let mut random = Philox::new(13, Stream::Benchmark, 0).sequential();
    let mut half = || f16::from_f32(random.random_range(-3.0f32..3.0)).to_bits();
    let low: Vec<u64> = (0..COUNT).map(|_| half().into()).collect();
    let high: Vec<u64> = (0..COUNT).map(|_| half().into()).collect();
    let both: Vec<u64> = low.iter().zip(&high).map(|(l, h)| h << 16 | l).collect();
    let go = |text: &str, sources: [&str; 3], x: &[u64]| {
        run_under(
            options(Approximations::Perturbed(4)),
            text,
            sources[0],
            sources,
            [x; 3],
        )
    };
    let low = go("ex2.approx.f16 $d, $a;", B16, &low);
    let high = go("ex2.approx.f16 $d, $a;", B16, &high);
    let both = go("ex2.approx.f16x2 $d, $a;", B32, &both);
    for i in 0..COUNT {
        assert_eq!(both[i], high[i] << 16 | low[i]);
    }
}

#[test]
fn values_that_the_isa_lists_exactly_are_not_perturbed() {
    let listed = [
        0x0000_0000u64,
        0x8000_0000,
        0x0000_0001,
        0x807f_ffff,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xbf80_0000,
    ];
    let values: Vec<u64> = listed.into_iter().cycle().take(COUNT).collect();
    for name in [
        "rcp.approx.f32",
        "sqrt.approx.ftz.f32",
        "rsqrt.approx.f32",
        "ex2.approx.f32",
        "lg2.approx.f32",
        "sin.approx.f32",
        "cos.approx.f32",
        "tanh.approx.f32",
    ] {
        let text = format!("{name} $d, $a;");
        let go = |approximations| {
            run_under(options(approximations), &text, "b32", B32, [&values[..]; 3])
        };
        let (nearest, perturbed) = (go(Approximations::Exact), go(Approximations::Perturbed(5)));
        // The last listed value is -1, whose results are not listed unless they are NaN.
        let kept = (0..COUNT).filter(|i| i % listed.len() != 7 || f(nearest[*i]).is_nan());
        for i in kept {
            assert_eq!(perturbed[i], nearest[i], "{name} of {:#x}", values[i]);
        }
    }
}

#[test]
fn other_operations_are_never_perturbed() {
    let mut random = Philox::new(14, Stream::Benchmark, 0).sequential();
    let values: Vec<u64> = (0..COUNT).map(|_| random.random::<u32>().into()).collect();
    for text in [
        "sqrt.rn.f32 $d, $a;",
        "div.rn.f32 $d, $a, $b;",
        "rcp.rn.f32 $d, $a;",
    ] {
        let go =
            |approximations| run_under(options(approximations), text, "b32", B32, [&values[..]; 3]);
        assert!(
            go(Approximations::Exact) == go(Approximations::Perturbed(6)),
            "{text}"
        );
    }
}
