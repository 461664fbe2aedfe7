//! Walks between two latent vectors.

/// The point a share `t` of the way from `a` to `b` along the great circle through their
/// directions: sin((1-t) w)/sin(w) a + sin(t w)/sin(w) b, w the angle between them (Shoemake 1985;
/// for latent vectors White 2016, arXiv:1609.04468). t = 0 gives `a`, t = 1 gives `b`.
///
/// Latent vectors of many normal numbers all lie near one sphere. A straight line between two
/// passes far inside it, where a generator was never trained; this path stays on it. Between
/// vectors of (nearly) one or opposite directions, or where one is zero, the circle is not
/// defined, and the path is the straight line.
///
/// # Panics
/// Where the lengths differ.
pub fn slerp(a: &[f32], b: &[f32], t: f64) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "latent vectors of one length");
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        let product = |(&x, &y): (&f32, &f32)| f64::from(x) * f64::from(y);
        x.iter().zip(y).map(product).sum()
    };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    // NaN where a vector is zero.
    let (from, to) = if sine > 1e-6 {
        (((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine)
    } else {
        (1.0 - t, t)
    };
    let mix = |(&a, &b): (&f32, &f32)| (from * f64::from(a) + to * f64::from(b)) as f32;
    a.iter().zip(b).map(mix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normals, random};

    fn latent(number: u64) -> Vec<f32> {
        normals(&mut random(number), 64)
            .iter()
            .map(|&v| v as f32)
            .collect()
    }

    fn norm(vector: &[f32]) -> f64 {
        vector
            .iter()
            .map(|&v| f64::from(v).powi(2))
            .sum::<f64>()
            .sqrt()
    }

    #[test]
    fn it_begins_and_ends_at_its_vectors_and_turns_steadily() {
        let (a, b) = (latent(51), latent(52));
        assert_eq!(
            (slerp(&a, &b, 0.0), slerp(&a, &b, 1.0)),
            (a.clone(), b.clone())
        );
        let unit = |v: &[f32]| -> Vec<f32> {
            let norm = norm(v);
            v.iter().map(|&v| (f64::from(v) / norm) as f32).collect()
        };
        let (a, b) = (unit(&a), unit(&b));
        let path: Vec<Vec<f32>> = (0..=8).map(|i| slerp(&a, &b, f64::from(i) / 8.0)).collect();
        let step = |pair: &[Vec<f32>]| -> f64 {
            let difference: Vec<f32> = pair[0].iter().zip(&pair[1]).map(|(x, y)| x - y).collect();
            norm(&difference)
        };
        let first = step(&path[..2]);
        assert!(
            path.windows(2)
                .all(|pair| (step(pair) / first - 1.0).abs() < 1e-5)
        );
        assert!(path.iter().all(|point| (norm(point) - 1.0).abs() < 1e-6));
    }

    #[test]
    fn vectors_of_one_direction_are_joined_by_a_line() {
        let a = latent(53);
        let double: Vec<f32> = a.iter().map(|v| 2.0 * v).collect();
        let middle = slerp(&a, &double, 0.5);
        assert!(
            middle
                .iter()
                .zip(&a)
                .all(|(m, a)| (m - 1.5 * a).abs() < 1e-5)
        );
        let opposite: Vec<f32> = a.iter().map(|v| -v).collect();
        assert!(slerp(&a, &opposite, 0.25).iter().all(|v| v.is_finite()));
        assert_eq!(slerp(&[0.0, 0.0], &[2.0, 4.0], 0.5), [1.0, 2.0]);
    }
}
