//! Edges of bins: NumPy's `arange`, the check that all statistics share, and a lookup of the bin of
//! a value that is as exact as comparing it with every edge.

use super::StatsError;

/// More edges than this are a slip of the pen.
const MOST_EDGES: f64 = 1e6;

/// The numbers of NumPy's `arange(start, stop, step)`, to the bit: `start`, `start + step`, then
/// `start + i ((start + step) - start)`. Edges of LensTools analyses are made so: the 11th of
/// `arange(-2, 2, 0.2)` is -4.44e-16.
///
/// # Errors
/// Numbers that are not finite, a step that is not above 0, fewer than two edges, more than 10^6.
pub fn arange(start: f64, stop: f64, step: f64) -> Result<Vec<f64>, StatsError> {
    let count = ((stop - start) / step).ceil();
    let usable = start.is_finite() && stop.is_finite() && step > 0.0 && step.is_finite();
    if !usable || !(2.0..=MOST_EDGES).contains(&count) {
        return Err(StatsError::Edges);
    }
    let second = start + step;
    let delta = second - start;
    let edge = |i: usize| match i {
        1 => second,
        _ => start + i as f64 * delta,
    };
    let edges: Vec<f64> = (0..count as usize).map(edge).collect();
    check_edges(&edges)?;
    Ok(edges)
}

/// Refuses edges that are not at least two finite, strictly increasing numbers.
pub(super) fn check_edges(edges: &[f64]) -> Result<(), StatsError> {
    let increasing = edges.windows(2).all(|pair| pair[0] < pair[1]);
    if edges.len() < 2 || !increasing || !edges.iter().all(|edge| edge.is_finite()) {
        return Err(StatsError::Edges);
    }
    Ok(())
}

/// Mid-points of the bins, as LensTools returns abscissae.
pub(super) fn midpoints(edges: &[f64]) -> Vec<f64> {
    let middle = |pair: &[f64]| 0.5 * (pair[0] + pair[1]);
    edges.windows(2).map(middle).collect()
}

/// Which numbers of a sorted list are not above a value, by table.
///
/// The line is cut into cells by a function that never falls as the value rises (rounding
/// included), so that all points in earlier cells are below the value and none in later ones; the
/// few in its own cell are compared. The count is therefore exactly that of comparing all points.
#[derive(Clone, Debug, Default)]
pub(super) struct Finder {
    /// Ascending; an infinity at the end is never reached.
    points: Vec<f64>,
    /// Points in cells before each.
    before: Vec<u16>,
    origin: f64,
    per_unit: f64,
    last_cell: f64,
    /// Most points in one cell.
    steps: usize,
}

/// Most cells of a table: 8 KiB.
const MOST_CELLS: usize = 4096;

/// 2^52: the sum with a small non-negative number has that number, rounded, in its lowest bits. It
/// is a conversion that every vector unit has.
const INTEGERS: f64 = 4_503_599_627_370_496.0;

impl Finder {
    /// Takes `points`, ascending (equal ones are allowed) and finite; memory is kept.
    pub fn set(&mut self, points: impl Iterator<Item = f64>) {
        self.points.clear();
        self.points.extend(points);
        let (first, last) = match (self.points.first(), self.points.last()) {
            (Some(&first), Some(&last)) => (first, last),
            _ => (0.0, 0.0),
        };
        let gaps = self.points.windows(2).map(|pair| pair[1] - pair[0]);
        let narrowest = gaps.filter(|&gap| gap > 0.0).fold(f64::INFINITY, f64::min);
        // More cells than gaps: each then holds one point at most, where gaps are alike.
        let wanted = 1.5 * (last - first) / narrowest + 2.0;
        let cells = (wanted as usize).clamp(2, MOST_CELLS);
        self.last_cell = (cells - 1) as f64;
        let per_unit = self.last_cell / (last - first);
        self.per_unit = if per_unit.is_finite() { per_unit } else { 0.0 };
        self.origin = first;
        self.before.clear();
        self.before.resize(cells, 0);
        for index in 0..self.points.len() {
            let cell = self.cell(self.points[index]) as usize;
            self.before[cell] += 1;
        }
        self.steps = usize::from(self.before.iter().copied().max().unwrap_or(0));
        let mut sum = 0;
        for count in &mut self.before {
            let here = *count;
            *count = sum;
            sum += here;
        }
        // What the comparison after the last point meets.
        self.points.push(f64::INFINITY);
    }

    /// The cell of `value`; never falls as the value rises.
    #[inline(always)]
    pub fn cell(&self, value: f64) -> u32 {
        let at = (value - self.origin) * self.per_unit;
        let at = if at > 0.0 { at } else { 0.0 };
        let at = if at < self.last_cell {
            at
        } else {
            self.last_cell
        };
        (at + INTEGERS).to_bits() as u32
    }

    /// How many points are not above `value`, whose cell is known; `value` is finite.
    #[inline(always)]
    pub fn count_in(&self, cell: u32, value: f64) -> usize {
        let mut count = usize::from(self.before[cell as usize]);
        for _ in 0..self.steps {
            count += usize::from(self.points[count] <= value);
        }
        count
    }

    /// How many points are not above `value`, which is finite.
    #[inline(always)]
    pub fn count(&self, value: f64) -> usize {
        self.count_in(self.cell(value), value)
    }

    /// The largest number that [`Self::count`] returns.
    pub fn most(&self) -> usize {
        self.points.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arange_is_that_of_numpy_to_the_bit() {
        let edges = arange(-2.0, 2.0, 0.2).unwrap();
        assert_eq!(edges.len(), 20);
        assert_eq!(edges[10], -4.440892098500626e-16);
        assert_eq!(edges[19], 1.799999999999999);
        let edges = arange(200.0, 50_000.0, 200.0).unwrap();
        assert_eq!((edges.len(), edges[248]), (249, 49_800.0));
        // numpy.arange(0.1, 0.5, 0.1): one more than the arithmetic of a schoolbook has.
        let expected = [0.1, 0.2, 0.30000000000000004, 0.4];
        assert_eq!(arange(0.1, 0.5, 0.1).unwrap(), expected);
    }

    #[test]
    fn an_arange_without_bins_is_refused() {
        for (start, stop, step) in [
            (0.0, 1.0, 0.0),
            (0.0, 1.0, -0.1),
            (1.0, 0.0, 0.1),
            (0.0, 1.0, 1.0),
            (0.0, 1.0, 1e-9),
            (0.0, f64::INFINITY, 1.0),
            (f64::NAN, 1.0, 0.1),
            (1e300, 2e300, 1.0),
            (1.0, 1.0 + 1e-14, 1e-17),
        ] {
            let edges = arange(start, stop, step);
            assert_eq!(edges, Err(StatsError::Edges), "{start} {stop} {step}");
        }
    }

    proptest! {
        #[test]
        fn a_finder_counts_as_comparisons_do(
            mut points in prop::collection::vec(
                prop_oneof![-1.0..1.0f64, -1e-9..1e-9f64, Just(0.25), -1e6..1e6f64], 1..60),
            values in prop::collection::vec(-2.0..2.0f64, 1..50),
        ) {
            points.sort_by(f64::total_cmp);
            let mut finder = Finder::default();
            finder.set(points.iter().copied());
            let near = points.iter().flat_map(|&p| [p, p.next_up(), p.next_down()]);
            for value in near.chain(values) {
                let expected = points.iter().filter(|&&point| point <= value).count();
                prop_assert_eq!(finder.count(value), expected, "{}", value);
            }
        }
    }
}
