//! Axes of panels: linear or logarithmic, with a few round marks. Values are turned into positions
//! here, so that every chart has linear coordinates and one type.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use super::colour::label;
use super::comparison::{axis_number, log_range, log_ticks, superscript};

/// A scale and its range.
#[derive(Clone, Debug)]
pub struct Axis {
    log: bool,
    /// Ends as positions.
    range: Range<f64>,
    /// Positions of the marks.
    marks: Vec<f64>,
}

impl Axis {
    /// An axis for `values`, those that are not finite left out, `room` of its length wider on either
    /// side (a logarithmic one by 10^(4 room)).
    pub fn of(
        values: impl Iterator<Item = f64> + Clone,
        log: bool,
        room: f64,
        most: usize,
    ) -> Self {
        if log {
            let range = log_range(values, 10_f64.powf(4.0 * room));
            return Self::logarithmic(&range, most);
        }
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let wider = ((high - low) * room)
            .max(low.abs().max(high.abs()) * 1e-6)
            .max(1e-300);
        Self::linear(low - wider..high + wider, most)
    }

    /// A linear axis.
    pub fn linear(range: Range<f64>, most: usize) -> Self {
        let marks = linear_marks(&range, most);
        Self {
            log: false,
            range,
            marks,
        }
    }

    fn logarithmic(range: &Range<f64>, most: usize) -> Self {
        let marks = log_ticks(range, most);
        Self {
            log: true,
            range: range.start.log10()..range.end.log10(),
            marks: marks.into_iter().map(f64::log10).collect(),
        }
    }

    /// Where `value` lies; at an end where it is beyond. Without a place (not finite): the lower end.
    pub fn at(&self, value: f64) -> f64 {
        let position = if self.log { value.log10() } else { value };
        if position.is_nan() {
            return self.range.start;
        }
        position.clamp(self.range.start, self.range.end)
    }

    /// Both ends, as positions.
    pub fn ends(&self) -> (f64, f64) {
        (self.range.start, self.range.end)
    }

    /// The mark at a position in words, in units of the axis's power of ten.
    pub fn words(&self, position: f64) -> String {
        if self.log {
            return axis_number(10_f64.powf(position));
        }
        // What rounding left of zero.
        let near_zero = position.abs() < 1e-9 * (self.range.end - self.range.start);
        let unit = 10_f64.powi(self.power().unwrap_or(0));
        label(if near_zero { 0.0 } else { position / unit })
    }

    /// The power of ten that the marks are in, where they are not in plain numbers.
    fn power(&self) -> Option<i32> {
        let largest = self.range.start.abs().max(self.range.end.abs());
        let plain = self.log || (1e-2..1e4).contains(&largest) || largest < 1e-290;
        (!plain).then(|| largest.log10().floor() as i32)
    }

    /// The name of an axis, with its power of ten where it has one.
    pub fn named(&self, name: &str) -> String {
        match self.power() {
            None => name.to_owned(),
            Some(power) => format!("{name} / 10{}", superscript(power)),
        }
    }
}

/// Positions on the axis, as `plotters` places them.
impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (first, last): (i32, i32)) -> i32 {
        let Range { start, end } = self.range;
        let share = (position - start) / (end - start);
        first + (f64::from(last - first) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.marks.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, `most` at most.
fn linear_marks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let length = range.end - range.start;
    let decade = 10_f64.powf((length / most.max(1) as f64).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0, 20.0]
        .map(|factor| factor * decade)
        .into_iter()
        .find(|step| length / step <= most as f64);
    let Some(step) = step.filter(|step| *step > 0.0 && length.is_finite()) else {
        return Vec::new();
    };
    let (first, last) = ((range.start / step).ceil(), (range.end / step).floor());
    let count = (last - first).max(-1.0) as i64 + 1;
    (0..count).map(|k| (first + k as f64) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let marks = linear_marks(&(-2.1..2.1), 7);
        assert_eq!(marks, [-2.0, -1.0, 0.0, 1.0, 2.0]);
        assert!(linear_marks(&(0.0..1e-7), 5).len() <= 6);
        assert!(linear_marks(&(1.0..1.0), 5).len() <= 1);
    }

    #[test]
    fn small_numbers_are_in_powers_of_ten() {
        let axis = Axis::linear(0.0..2.5e-10, 5);
        assert_eq!(axis.words(1.5e-10), "1.5");
        assert_eq!(axis.named("P"), "P / 10\u{207b}\u{b9}\u{2070}");
        assert_eq!(Axis::linear(0.0..2.0, 5).named("P"), "P");
    }

    #[test]
    fn values_beyond_the_ends_lie_at_them() {
        let axis = Axis::of([1.0, 10.0, f64::NAN].into_iter(), true, 0.0, 5);
        assert_eq!((axis.at(0.0), axis.at(1e9)), (0.0, 1.0));
        assert_eq!(axis.at(f64::NAN), 0.0);
        let linear = Axis::of([f64::NAN].into_iter(), false, 0.1, 5);
        assert!(linear.at(0.5) > 0.0);
    }
}
