//! The `.npz` file of `cosmogan stats`.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ndarray::{Array0, Array1, Array2, ArrayView2, Dimension, arr0};
use ndarray_npy::{NpzWriter, WritableElement, WriteNpzError};

use cosmogan::files::write_atomic;
use cosmogan::stats::{MapStatistics, Statistic, StatisticsPlan, Unit};

/// Refuses an output that could only fail when all maps are measured.
pub fn require_place(out: &Path) -> Result<()> {
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        bail!(
            "cannot write {}: {} is no directory; make it first",
            out.display(),
            directory.display()
        );
    }
    if out.is_dir() {
        bail!("cannot write {}: it is a directory", out.display());
    }
    Ok(())
}

/// Writes the statistics of maps, whose numbers are `rows` `[maps, row_len]`, and their bins.
///
/// # Errors
/// Those of writing; then `out` is as it was.
pub fn write(out: &Path, statistics: &MapStatistics, rows: &[f64]) -> Result<()> {
    write_atomic(out, |file| {
        let mut npz = Npz(NpzWriter::new(file));
        npz.statistics(statistics, rows)?;
        npz.bins(statistics)?;
        npz.plan(statistics.plan())?;
        npz.0.finish().map(|_| ()).map_err(of_npz)
    })
    .with_context(|| format!("cannot write {}", out.display()))
}

struct Npz<W: io::Write + io::Seek>(NpzWriter<W>);

impl<W: io::Write + io::Seek> Npz<W> {
    fn add<T, D>(&mut self, name: &str, array: &ndarray::Array<T, D>) -> io::Result<()>
    where
        T: WritableElement,
        D: Dimension,
    {
        self.0.add_array(name, array).map_err(of_npz)
    }

    fn list(&mut self, name: &str, values: Vec<f64>) -> io::Result<()> {
        self.add(name, &Array1::from(values))
    }

    fn counts(&mut self, name: &str, counts: &[usize]) -> io::Result<()> {
        let counts = counts.iter().map(|&count| count as i64);
        self.add(name, &counts.collect::<Array1<i64>>())
    }

    fn number(&mut self, name: &str, value: f64) -> io::Result<()> {
        self.add(name, &arr0(value))
    }

    fn statistics(&mut self, statistics: &MapStatistics, rows: &[f64]) -> io::Result<()> {
        let len = statistics.row_len();
        let rows = ArrayView2::from_shape((rows.len() / len.max(1), len), rows);
        let rows = rows.map_err(io::Error::other)?;
        for statistic in Statistic::ALL {
            let columns = statistics.columns(statistic);
            if !columns.is_empty() {
                let array: Array2<f64> = rows.slice(ndarray::s![.., columns]).to_owned();
                self.add(statistic.name(), &array)?;
            }
        }
        Ok(())
    }

    fn bins(&mut self, statistics: &MapStatistics) -> io::Result<()> {
        if let Some(spectrum) = statistics.power_spectrum() {
            self.list("l", spectrum.l())?;
            self.list("l_edges", spectrum.l_edges().to_vec())?;
            self.list("l_mean", spectrum.mean_l().to_vec())?;
            self.counts("mode_counts", spectrum.mode_counts())?;
        } else if let Some(bispectrum) = statistics.bispectrum_equilateral() {
            self.list("l", bispectrum.l())?;
            self.list("l_edges", bispectrum.l_edges().to_vec())?;
        }
        let bispectra = [
            (
                "triangle_counts_equilateral",
                statistics.bispectrum_equilateral(),
            ),
            ("triangle_counts_folded", statistics.bispectrum_folded()),
        ];
        for (name, estimator) in bispectra {
            if let Some(estimator) = estimator {
                self.counts(name, &estimator.triangle_counts())?;
            }
        }
        if let Some(thresholds) = statistics.plan().any_thresholds() {
            self.list("thresholds", thresholds.midpoints())?;
            self.list("threshold_edges", thresholds.edges().to_vec())?;
            let normalised: Array0<bool> = arr0(thresholds.unit() != Unit::Absolute);
            self.add("normalised", &normalised)?;
            if let Unit::Sigma(sigma) = thresholds.unit() {
                self.number("threshold_unit", sigma)?;
            }
        }
        Ok(())
    }

    /// What was done to the maps.
    fn plan(&mut self, plan: &StatisticsPlan) -> io::Result<()> {
        self.number("angle_deg", plan.angle_deg)?;
        if let Some((_, ratio)) = &plan.bispectrum_folded {
            self.number("folded_ratio", *ratio)?;
        }
        if let Some(arcmin) = plan.smooth_arcmin {
            self.number("smooth_arcmin", arcmin)?;
        }
        if let Some(noise) = &plan.shape_noise {
            self.number("shape_noise_n_gal", noise.n_gal)?;
            self.number("shape_noise_sigma_e", noise.sigma_e)?;
            self.add("shape_noise_seed", &arr0(noise.seed))?;
        }
        Ok(())
    }
}

/// The cause in the archive, where it is one of writing.
fn of_npz(error: WriteNpzError) -> io::Error {
    io::Error::other(error)
}
