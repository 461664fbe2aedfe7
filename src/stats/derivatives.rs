//! Gradient and Hessian of a periodic map, row by row, in pixel units and with LensTools' stencils.

use super::padded::{PAD, PaddedMap};

/// Derivatives along one row, `[N]` each; x is the column (the fast axis), y the row.
#[derive(Clone, Debug)]
pub(super) struct RowDerivatives {
    /// (m[x+1] - m[x-1]) / 2.
    pub gx: Vec<f64>,
    pub gy: Vec<f64>,
    /// (m[x+2] + m[x-2] - 2 m) / 4: the stencil of two pixels.
    pub hxx: Vec<f64>,
    pub hyy: Vec<f64>,
    /// (m[+,+] + m[-,-] - m[-,+] - m[+,-]) / 4.
    pub hxy: Vec<f64>,
    /// gx^2 + gy^2.
    pub gradient_squared: Vec<f64>,
}

impl RowDerivatives {
    pub fn new(side: usize) -> Self {
        let row = || vec![0.0; side];
        Self {
            gx: row(),
            gy: row(),
            hxx: row(),
            hyy: row(),
            hxy: row(),
            gradient_squared: row(),
        }
    }

    /// Those of row `y` of a continued map.
    pub fn set(&mut self, map: &PaddedMap, y: usize) {
        let n = self.gx.len();
        // Rows by their offset in y; `.., at(row, dx)` is the row moved by dx.
        let rows = [-2, -1, 0, 1, 2].map(|offset| map.continued(y, offset));
        let at = |dy: isize, dx: isize| {
            let row = rows[(dy + 2) as usize];
            &row[PAD.wrapping_add_signed(dx)..][..n]
        };
        let (middle, left, right) = (at(0, 0), at(0, -1), at(0, 1));
        let (left2, right2) = (at(0, -2), at(0, 2));
        let (above2, above, below, below2) = (at(-2, 0), at(-1, 0), at(1, 0), at(2, 0));
        let (above_left, above_right) = (at(-1, -1), at(-1, 1));
        let (below_left, below_right) = (at(1, -1), at(1, 1));
        let (gx, gy) = (&mut self.gx[..n], &mut self.gy[..n]);
        let (hxx, hyy) = (&mut self.hxx[..n], &mut self.hyy[..n]);
        let (hxy, squared) = (&mut self.hxy[..n], &mut self.gradient_squared[..n]);
        for x in 0..n {
            gx[x] = (right[x] - left[x]) / 2.0;
            gy[x] = (below[x] - above[x]) / 2.0;
            squared[x] = gx[x] * gx[x] + gy[x] * gy[x];
        }
        for x in 0..n {
            hxx[x] = (right2[x] + left2[x] - 2.0 * middle[x]) / 4.0;
            hyy[x] = (below2[x] + above2[x] - 2.0 * middle[x]) / 4.0;
        }
        for x in 0..n {
            hxy[x] = (below_right[x] + above_left[x] - below_left[x] - above_right[x]) / 4.0;
        }
    }
}
