//! Parsers of option values that several commands share.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, IntoDeserializer};

use cosmogan::data;
use cosmogan::stats::arange;
use cosmogan::train::{Schedule, Segment};

/// A value of an enum by its name in files, so that command line and files agree by construction.
/// `names` are what the help text lists.
pub fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names)
        .try_map(|name| -> Result<T, Error> { T::deserialize(name.into_deserializer()) })
}

/// A learning rate: `2e-4`, or segments of EPOCHS:RATE, `30:2e-5,5:5e-6`, or in steps,
/// `5000steps:2e-4,1000steps:1e-5`.
pub fn schedule(text: &str) -> Result<Schedule, String> {
    let number = |text: &str| -> Result<f64, String> {
        let text = text.trim();
        text.parse()
            .map_err(|_| format!("'{text}' is not a number"))
    };
    if !text.contains(':') {
        return Ok(Schedule::constant(number(text)?));
    }
    let segment = |part: &str| -> Result<Segment, String> {
        let (length, rate) = part
            .split_once(':')
            .ok_or_else(|| format!("'{part}' is not EPOCHS:RATE or Nsteps:RATE"))?;
        let rate = number(rate)?;
        Ok(match length.trim().strip_suffix("steps") {
            Some(steps) => Segment::Steps {
                steps: number(steps)?,
                rate,
            },
            None => Segment::Epochs {
                epochs: number(length)?,
                rate,
            },
        })
    };
    let segments = text.split(',').map(segment).collect::<Result<_, _>>()?;
    Ok(Schedule { segments })
}

/// Three shares, `0.7,0.15,0.15`.
pub fn fractions(text: &str) -> Result<[f64; 3], String> {
    let numbers = text.split(',').map(|part| part.trim().parse());
    let numbers: Result<Vec<f64>, _> = numbers.collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "three numbers are needed, such as 0.7,0.15,0.15".to_owned())
}

/// Edges of bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Edges(pub Vec<f64>);

/// `A:B:STEP`, the edges of NumPy's `arange(A, B, STEP)`, to the bit.
pub fn edges(text: &str) -> Result<Edges, String> {
    let numbers: Option<Vec<f64>> = text
        .split(':')
        .map(|part| part.trim().parse().ok())
        .collect();
    let Some(&[start, stop, step]) = numbers.as_deref() else {
        return Err("three numbers A:B:STEP are needed, such as -2:2:0.2".to_owned());
    };
    arange(start, stop, step).map(Edges).map_err(|_| {
        "from A in steps of STEP there must be at least two edges below B (and at most a million)"
            .to_owned()
    })
}

/// What a file of maps is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFormat {
    /// Float32 values.
    Values(data::MapFormat),
    /// A grid of pictures.
    Png,
}

/// The format that the ending of `path` stands for.
pub fn map_format(path: &Path) -> Option<MapFormat> {
    let png = path.extension()?.eq_ignore_ascii_case("png");
    let values = || data::MapFormat::of(path).map(MapFormat::Values);
    png.then_some(MapFormat::Png).or_else(values)
}

/// A path whose ending is one of [`MapFormat`]'s.
pub fn map_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match map_format(&path) {
        Some(_) => Ok(path),
        None => Err("the name must end in .fits, .npy (values) or .png (pictures)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cosmogan::train::Convention;

    #[test]
    fn schedules_are_one_rate_or_segments() {
        assert_eq!(schedule("2e-4"), Ok(Schedule::constant(2e-4)));
        let steps = Schedule::in_steps(&[(5000.0, 2e-4), (1e3, 1e-5)]);
        assert_eq!(schedule("5000steps:2e-4,1e3 steps:1e-5"), Ok(steps));
        let thesis = schedule("30:2e-5, 5:5e-6,5:2e-6,5:1e-6,5:5e-7").unwrap();
        assert_eq!(thesis, Convention::Torch.step().generator_rate);
        for bad in ["", "fast", "30:", "30:2e-5,5e-6", ":", "1:2:3"] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fractions_are_exactly_three() {
        assert_eq!(fractions("0.7, 0.2,0.1"), Ok([0.7, 0.2, 0.1]));
        for bad in ["", "1", "0.5,0.5", "a,b,c", "1,0,0,0"] {
            assert!(fractions(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn edges_are_those_of_numpy() {
        let Edges(thresholds) = edges("-2: 2:0.2").unwrap();
        assert_eq!(thresholds.len(), 20);
        assert_eq!(thresholds[10], -4.440892098500626e-16);
        assert_eq!(edges("200:50000:200").unwrap().0.len(), 249);
        for bad in [
            "", "1:2", "1:2:3:4", "a:b:c", "0:1:1", "0:1:-1", "2:1:0.1", "0:inf:1",
        ] {
            assert!(edges(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_ending_of_a_map_file_decides_its_format() {
        let values = |format| Some(MapFormat::Values(format));
        assert_eq!(map_format(Path::new("a.NPY")), values(data::MapFormat::Npy));
        assert_eq!(
            map_format(Path::new("a.fit")),
            values(data::MapFormat::Fits)
        );
        assert_eq!(map_format(Path::new("a.b.png")), Some(MapFormat::Png));
        assert!(map_path("maps").is_err() && map_path("a.tif").is_err());
    }
}
