"""What astropy and spectral-cube read from real FITS files: coordinates, beams, values.

usage: python fits_headers.py DATA_FOLDER fits_headers.json
made with astropy 8.0.2, spectral-cube 0.7.0, radio_beam 0.3.10
"""
import glob, json, os, sys, warnings
import numpy as np
import astropy, spectral_cube, radio_beam
from astropy.io import fits
from astropy.wcs import WCS
import astropy.units as u

warnings.simplefilter("ignore")
data = sys.argv[1]
out = {"versions": {"astropy": astropy.__version__, "spectral_cube": spectral_cube.__version__, "radio_beam": radio_beam.__version__}, "files": {}}
names = sorted(glob.glob(f"{data}/real/images/*.fits*")) + [f"{data}/real/casaimg/casadata_test_image.fits"]
for name in names:
    with fits.open(name) as hdus:
        header, values = hdus[0].header, np.array(hdus[0].data, dtype=np.float64)
    for card in list(header):
        if card.startswith("CUNIT") and header[card].isupper() and header[card].strip() in ("M/S", "DEG"):
            header[card] = header[card].lower()  # astropy refuses "M/S"
    while values.ndim > 3:
        assert values.shape[0] == 1
        values = values[0]
    wcs = WCS(header).celestial
    ny, nx = values.shape[-2:]
    x = np.array([0, nx - 1, 0, nx - 1, nx / 2.0, nx / 3.0])
    y = np.array([0, 0, ny - 1, ny - 1, ny / 2.0, ny / 5.0])
    lon, lat = wcs.all_pix2world(x, y, 0)
    xb, yb = wcs.all_world2pix(lon, lat, 0)
    entry = {
        "shape": list(values.shape), "x": x.tolist(), "y": y.tolist(), "lon": lon.tolist(), "lat": lat.tolist(),
        "n_nan": int(np.isnan(values).sum()), "sum": float(np.nansum(values)), "abs_sum": float(np.nansum(np.abs(values))),
        "min": float(np.nanmin(values)), "max": float(np.nanmax(values)),
    }
    probe = [int(i) for i in np.linspace(0, values.size - 1, 17)]
    entry["probe"] = probe
    entry["value"] = [None if np.isnan(v) else float(v) for v in values.ravel()[probe]]
    try:
        beam = radio_beam.Beam.from_fits_header(header)
        entry["beam_deg"] = [beam.major.to_value(u.deg), beam.minor.to_value(u.deg), beam.pa.to_value(u.deg)]
    except Exception as e:
        entry["beam_error"] = str(e)
    if values.ndim == 3:
        spec = WCS(header).sub([3]) if WCS(header).naxis > 3 else WCS(header).spectral
        entry["spectral_ctype"] = spec.wcs.ctype[0]
        ch = np.arange(values.shape[0])
        entry["spectral_si"] = spec.all_pix2world(ch, 0)[0].tolist()
        try:
            cube = spectral_cube.SpectralCube.read(name)
            v = cube.spectral_axis
            entry["cube_unit"] = str(v.unit)
            entry["cube_axis"] = v.value.tolist()
            rest = header.get("RESTFRQ") or header.get("RESTFREQ")
            for conv in ("radio", "optical", "relativistic"):
                try:
                    w = cube.with_spectral_unit(u.km / u.s, velocity_convention=conv, rest_value=rest * u.Hz).spectral_axis
                    entry["v_" + conv] = w.to_value(u.km / u.s).tolist()
                except Exception as e:
                    entry["v_" + conv + "_error"] = str(e)[:200]
        except Exception as e:
            entry["cube_error"] = str(e)[:200]
    out["files"][os.path.basename(name)] = entry
open(sys.argv[2], "w").write(json.dumps(out, indent=0))
