//! What tests of map files share: reading all pixels, and writing.

use std::path::{Path, PathBuf};

use cosmogan::data::{MapFormat, MapSet, Maps, Provenance, write_maps};

pub fn open(path: &Path) -> Maps {
    Maps::open(&[path.to_owned()]).unwrap_or_else(|error| panic!("{error}"))
}

/// All pixels of all maps, `[maps, side, side, channels]`.
pub fn read_all(maps: &Maps) -> Vec<f32> {
    let mut pixels = Vec::new();
    for parent in 0..maps.len() {
        let side = maps.side(parent);
        let mut map = vec![0.0; side * side * maps.channels()];
        maps.read_window(parent, 0, 0, side, &mut map);
        pixels.extend(map);
    }
    pixels
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// All that can be known.
pub const KNOWN: Provenance = Provenance {
    side_deg: Some(0.866_025_403_784_438_6),
    source_redshift: Some(1.0),
    omega_m: Some(0.26),
    omega_b: Some(0.046),
    omega_l: Some(0.74),
    sigma_8: Some(0.798),
    h: Some(0.72),
    n_s: Some(0.96),
    w: Some(-1.0),
    wa: Some(1e-7),
};

/// Writes `pixels` `[maps, side, side, channels]`, at most `together` maps at a time.
pub fn write(path: &Path, pixels: &[f32], side: usize, channels: usize, known: &Provenance) {
    let length = side * side * channels;
    let set = MapSet {
        maps: pixels.len() / length,
        side,
        channels,
        provenance: known,
        extra: [("made_by".to_owned(), "a test".into())]
            .into_iter()
            .collect(),
    };
    let together = 2;
    let format = MapFormat::of(path).unwrap();
    write_maps(path, format, &set, &mut |first, out| {
        let rest = &pixels[first * length..];
        out.clear();
        out.extend_from_slice(&rest[..rest.len().min(together * length)]);
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

/// The names of what lies in `directory`, in their order.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// FITS files that astropy and LensTools wrote.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/fits")
}
