//! What a grid shows, read back from its file.

use super::*;
use crate::report::colour::NOT_FINITE;
use std::fs::File;
use std::io::BufReader;

/// `(width, height, rgb)` of a PNG file.
fn read(path: &Path) -> (usize, usize, Vec<u8>) {
    let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    (info.width as usize, info.height as usize, rgb)
}

fn ramp(n: usize, side: usize) -> Vec<f32> {
    (0..n * side * side).map(|i| i as f32 * 1e-3).collect()
}

fn grid<'a>(generated: &'a [f32], real: &'a [f32]) -> SampleGrid<'a> {
    let panel = |maps| Panel {
        label: "maps",
        maps,
    };
    SampleGrid {
        title: "title",
        quantity: "convergence \u{3ba}",
        style: PictureStyle::Asinh,
        side: 16,
        rows: 2,
        columns: 3,
        generated: panel(generated),
        real: panel(real),
    }
}

#[test]
fn a_plain_grid_shows_each_pixel_of_each_map_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("maps.png");
    let mut maps = ramp(5, 64);
    maps[2 * 4096 + 64 + 2] = f32::NAN;
    maps_png(&path, &maps, 3, 64, PictureStyle::Asinh).unwrap();
    let (width, height, rgb) = read(&path);
    assert_eq!((width, height), (2 * 192 + GAP, 2 * 192 + GAP));
    let stretch = Stretch::of(&maps, PictureStyle::Asinh).unwrap();
    let pixel = |x: usize, y: usize| &rgb[(y * width + x) * 3..][..3];
    assert_eq!(pixel(0, 0), stretch.colour(0.0));
    let last_of_map_1 = f64::from(maps[2 * 4096 - 1]);
    assert_eq!(pixel(width - 1, 191), stretch.colour(last_of_map_1));
    assert_eq!(
        pixel(7, 192 + GAP + 4),
        NOT_FINITE,
        "map 2, row 1, column 2"
    );
    assert_eq!(pixel(width - 1, height - 1), [255; 3], "no fourth map");
}

#[test]
fn generated_and_real_maps_share_one_range_set_by_the_real_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grid.png");
    let real = ramp(6, 16);
    let bright = vec![1e6; 256];
    sample_grid(&path, &grid(&bright, &real)).unwrap();
    let (width, _, rgb) = read(&path);
    let top = MARGIN / 2 + TITLE + HEADING;
    let first = &rgb[(top * width + MARGIN) * 3..][..3];
    assert_eq!(
        first,
        Stretch::of(&real, PictureStyle::Asinh)
            .unwrap()
            .colour_at(1.0)
    );
}

#[test]
fn maps_of_the_wrong_shape_and_grids_without_size_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grid.png");
    let real = ramp(6, 16);
    let wrong = sample_grid(&path, &grid(&real[1..], &real)).unwrap_err();
    assert!(matches!(wrong, ReportError::Shape { .. }));
    let none = sample_grid(&path, &grid(&[], &real)).unwrap_err();
    assert!(matches!(none, ReportError::Shape { .. }));
    let endless = SampleGrid {
        columns: 1000,
        ..grid(&real, &real)
    };
    let endless = sample_grid(&path, &endless).unwrap_err();
    assert!(matches!(endless, ReportError::Size { .. }));
    let nothing = maps_png(&path, &real, 0, 16, PictureStyle::Asinh).unwrap_err();
    assert!(matches!(nothing, ReportError::Size { .. }));
    let sideless = maps_png(&path, &real, 1, 0, PictureStyle::Asinh).unwrap_err();
    assert!(matches!(sideless, ReportError::Shape { .. }));
    let nan = maps_png(&path, &[f32::NAN; 256], 1, 16, PictureStyle::Asinh).unwrap_err();
    assert!(matches!(nan, ReportError::NoRange { .. }));
    assert!(!path.exists());
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/maps.png");
    let error = maps_png(&path, &ramp(1, 16), 1, 16, PictureStyle::Asinh).unwrap_err();
    assert!(error.to_string().contains("missing/maps.png"), "{error}");
}
