"""FITS files by astropy, for tests/map_formats.rs.

    fits.py write DIRECTORY    the files of tests/corpus/fits, into DIRECTORY
    fits.py read FILE          what astropy, and LensTools where it is, find in FILE, as JSON

Needs numpy and astropy. Of a stack, pixel [y, x] of map m is m / 4 - 1 / 2 + y / 8 + x / 64.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

SIDE = 8


def maps(count):
    m, y, x = np.mgrid[:count, :SIDE, :SIDE]
    return m / 4 - 1 / 2 + y / 8 + x / 64


def tell(hdu):
    hdu.header["ANGLE"] = (3.5, "degrees")
    hdu.header["Z"] = (1.0, "redshift of the sources")
    hdu.header["H0"] = 72.0
    hdu.header["h"] = 0.72
    hdu.header["OMEGA_M"] = 0.26
    hdu.header["OMEGA_L"] = 0.74
    hdu.header["W0"] = -1.0
    hdu.header["WA"] = 0.0
    return hdu


def integers(bits):
    """Physical values as of `maps`, but pixel [2, 3] is blank."""
    stored = np.round((maps(1)[0] + 0.5) * 1024).astype(f"i{bits // 8}")
    blank = int(np.iinfo(stored.dtype).min)
    stored[2, 3] = blank
    hdu = fits.PrimaryHDU(stored)
    # Set behind astropy's back, which would convert the data.
    hdu.header["BSCALE"] = 2.0**-10
    hdu.header["BZERO"] = -0.5
    hdu.header["BLANK"] = blank
    return hdu


def write_raw(hdu, path):
    header = hdu.header.tostring().encode()
    data = np.ascontiguousarray(hdu.data).astype(hdu.data.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(header + data + b"\0" * (-len(data) % 2880))


def write(directory):
    one, three = maps(1)[0], maps(3)
    single = one.astype("f4")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=single[0])])
    empty = fits.PrimaryHDU()
    empty.header["ANGLE"] = 3.5
    files = {
        "primary_f32": [tell(fits.PrimaryHDU(single))],
        "primary_f64": [fits.PrimaryHDU(one)],
        "cube_f32": [tell(fits.PrimaryHDU(three.astype("f4")))],
        "cube_f64": [fits.PrimaryHDU(three)],
        "axes_of_one_f32": [fits.PrimaryHDU(three.astype("f4")[:, None])],
        "extension_f32": [empty, fits.ImageHDU(single, name="KAPPA")],
        "behind_a_table_f64": [empty, table, fits.ImageHDU(one)],
        "refused_table": [fits.PrimaryHDU(), table],
        "refused_tiles": [fits.PrimaryHDU(), fits.CompImageHDU(single)],
        "refused_i32": [fits.PrimaryHDU((64 * one).astype("i4"))],
        "refused_u16": [fits.PrimaryHDU((64 * (one + 1)).astype("u2"))],
        "refused_oblong": [fits.PrimaryHDU(single[:, :4])],
    }
    for name, hdus in files.items():
        fits.HDUList(hdus).writeto(directory / f"{name}.fits", overwrite=True)
    for bits in 16, 32:
        write_raw(integers(bits), directory / f"scaled_i{bits}.fits")
    packed = gzip.compress((directory / "primary_f32.fits").read_bytes(), mtime=0)
    (directory / "refused_gzip.fits").write_bytes(packed)
    try:
        lenstools(directory, single)
    except ImportError:
        pass


def lenstools(directory, map_):
    import astropy.units as u
    from astropy.cosmology import w0waCDM
    from lenstools import ConvergenceMap

    kappa = ConvergenceMap(map_, 3.5 * u.deg)
    kappa.cosmology = w0waCDM(H0=72.0, Om0=0.26, Ode0=0.74, w0=-1.0, wa=0.0)
    kappa.redshift = 1.0
    kappa.save(str(directory / "lenstools.fits"))


def read(path):
    with fits.open(path) as hdus:
        hdus.verify("exception")
        header, data = hdus[0].header, hdus[0].data
        keys = {key: header[key] for key in header if key not in ("", "COMMENT")}
        found = {"hdus": len(hdus), "dtype": str(data.dtype), "keys": keys}
        found["pixels"] = data.astype("f8").tolist()
    try:
        from lenstools import ConvergenceMap

        kappa = ConvergenceMap.load(str(path))
        found["lenstools_angle"] = kappa.side_angle.to("deg").value
        found["lenstools_pixels"] = kappa.data.astype("f8").tolist()
    except ImportError:
        pass
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", directory]:
            write(Path(directory))
        case ["read", path]:
            read(path)
        case _:
            sys.exit(__doc__)
