//! One map as a FITS file that LensTools and every other FITS reader opens: a float32 image in the
//! primary array, the map's side and cosmology in the header.

use std::io::{self, Write};

use super::fits_header::{BLOCK, CARD};
use super::provenance::Provenance;

/// Writes `map` `[side, side]` and what is known of it. Keys and their meaning are those of
/// `lenstools.image.io.saveFITS` of LensTools 1.2, which needs `ANGLE` to read a map; `OMEGA_B`,
/// `SIGMA_8` and `N_S` are for others. What is unknown is left out.
///
/// # Errors
/// Those of writing.
pub(super) fn write_fits(
    file: &mut impl Write,
    side: usize,
    map: &[f32],
    provenance: &Provenance,
) -> io::Result<()> {
    let header = header(side, provenance);
    file.write_all(&header)?;
    let mut bytes = [0; 4096];
    for chunk in map.chunks(bytes.len() / 4) {
        for (slot, pixel) in bytes.chunks_exact_mut(4).zip(chunk) {
            slot.copy_from_slice(&pixel.to_be_bytes());
        }
        file.write_all(&bytes[..4 * chunk.len()])?;
    }
    let length = 4 * map.len();
    file.write_all(&[0; BLOCK][..length.next_multiple_of(BLOCK) - length])
}

fn header(side: usize, provenance: &Provenance) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut card = |key: &str, value: &str, comment: &str| {
        let mut text = format!("{key:8}= {value:>20} / {comment}");
        text.truncate(CARD);
        bytes.extend(format!("{text:CARD$}").into_bytes());
    };
    let side = side.to_string();
    card("SIMPLE", "T", "conforms to the FITS standard");
    card("BITPIX", "-32", "float32");
    card("NAXIS", "2", "one image");
    card("NAXIS1", &side, "pixels of a row");
    card("NAXIS2", &side, "rows");
    let known = provenance;
    for (key, value, comment) in [
        ("ANGLE", known.side_deg, "side of the map in degrees"),
        ("Z", known.source_redshift, "redshift of the sources"),
        (
            "H0",
            known.h.map(|h| 100.0 * h),
            "Hubble constant in km/s/Mpc",
        ),
        ("H", known.h, "H0 / (100 km/s/Mpc)"),
        ("OMEGA_M", known.omega_m, "density of matter"),
        ("OMEGA_L", known.omega_l, "density of dark energy"),
        ("W0", known.w, "equation of state of dark energy"),
        ("WA", known.wa, "its change with the scale factor"),
        ("OMEGA_B", known.omega_b, "density of baryons"),
        ("SIGMA_8", known.sigma_8, "rms of density in 8 Mpc/h"),
        ("N_S", known.n_s, "primordial spectral index"),
    ] {
        if let Some(value) = value {
            // The shortest text that reads back to the bit, with a point or an exponent in it.
            card(key, &format!("{value:?}").to_uppercase(), comment);
        }
    }
    card("ITYPE", "'ConvergenceMap'", "class of LensTools");
    let creator = format!("'cosmogan {}'", env!("CARGO_PKG_VERSION"));
    card("CREATOR", &creator, "program that wrote this file");
    bytes.extend(format!("{:CARD$}", "END").into_bytes());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    bytes
}
