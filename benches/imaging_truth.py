"""Cleaned images of simulated skies beside the sky that was put in: this program and tclean, same mask, gain, cycles and iterations.

usage: imaging_truth.py PROGRAM SCRATCH disk:MS,MODEL.fits,TRUTH.json | galaxy:MS,MS,SKY.fits ..

PYTHON (with casatasks; default: this one) runs tclean. The truth is the sky smoothed with the restoring beam of each image. Prints, for each
run, the flux of the model, the rms of the residual inside and outside the mask, and the rms of image minus truth inside the mask, all where the
primary beam is above a half; for the continuum the median fidelity |truth| / max(|image - truth|, 0.7 rms of the difference) above 5 % of the peak.
"""
import json, os, shutil, sys, textwrap
import numpy as np
from astropy.io import fits
from scipy.ndimage import map_coordinates
from imaging import CUBE, PYTHON, SCALES, TCUBE, TSCALES, measured

DISK = 'spw: 0, datacolumn: "data", cell: "0.02arcsec", npix: 512, gridder: "standard", robust: 0.5, mask: "circle[[256pix,256pix],85pix]"'
TDISK = dict(spw="0", specmode="mfs", imsize=512, cell="0.02arcsec", gridder="standard", pblimit=-0.1, weighting="briggs", robust=0.5, gain=0.1,
             usemask="user", mask="circle[[256pix,256pix],85pix]", cyclefactor=1.0)
MS5 = ', deconvolver: "multiscale", scales: [0, 5, 15], cycleniter: 100'
TMS5 = dict(deconvolver="multiscale", scales=[0, 5, 15], cycleniter=100)
GALAXY = CUBE.replace("1343km/s", "1340.5km/s") + ', spw: 0, robust: 0.5, per_channel_density: false, mosweight: false, pblimit: 0.2, mask: "pb:0.3"'
TGALAXY = dict(TCUBE, start="1340.5km/s", gridder="mosaic", weighting="briggs", robust=0.5, mosweight=False, pblimit=0.2, usemask="pb", pbmask=0.3)

RUNS = {
    "disk": [
        ("Hogbom 500", ", niter: 500, cycleniter: 100", dict(deconvolver="hogbom", niter=500, cycleniter=100, threshold="0Jy")),
        ("multiscale 300, bias 0.6", MS5 + ", smallscalebias: 0.6, niter: 300", dict(TMS5, smallscalebias=0.6, niter=300, threshold="0Jy")),
        ("multiscale to 0.1 mJy, bias 0.6", MS5 + ', smallscalebias: 0.6, niter: 20000, threshold: "0.1mJy"', dict(TMS5, smallscalebias=0.6, niter=20000, threshold="0.1mJy")),
        ("multiscale to 0.1 mJy, bias 0", MS5 + ', niter: 20000, threshold: "0.1mJy"', None),
    ],
    "galaxy": [
        ("multiscale 3000, bias 0.6", SCALES + ", niter: 3000", dict(TSCALES, niter=3000)),
        ("multiscale 3000, bias 0", SCALES.replace("smallscalebias: 0.6, ", "") + ", niter: 3000", None),
        ("multiscale to 40 mJy, bias 0.6", SCALES + ', niter: 100000, threshold: "40mJy"', dict(TSCALES, niter=100000, threshold="40mJy")),
        ("multiscale to 40 mJy, bias 0", SCALES.replace("smallscalebias: 0.6, ", "") + ', niter: 100000, threshold: "40mJy"', None),
    ],
}


def ours(program, sets, options, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder + "/.phangs")
    with open(folder + "/run.rhai", "w") as f:
        f.write('let vis = param("vis", [], #{ path: "in" });\nprint(image(vis, "out", #{ %s }));\n' % options)
    measured([program, "run", folder + "/run.rhai", "-p", "vis=" + ",".join(sets)], folder)
    return folder + "/out."


def tclean(sets, options, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    call = dict(vis=sets, imagename="out", datacolumn="data", interactive=False, **options)
    script = textwrap.dedent(f"""
        import json
        from casatasks import tclean, exportfits
        tclean(**json.loads({json.dumps(json.dumps(call))}))
        for n in ("image", "residual", "model", "mask", "pb"): exportfits("out." + n, "out." + n + ".fits", dropdeg=False)
    """)
    measured([PYTHON, "-c", script], folder)
    return folder + "/out."


def read(path):
    """[channel, y, x], header, beams (arcsec, arcsec, deg) by channel."""
    with fits.open(path) as f:
        data, header = np.nan_to_num(f[0].data.astype(float)), f[0].header
        data = data[:, 0] if data.shape[1] == 1 else data[0]
        if "BMAJ" in header:
            beams = [(header["BMAJ"] * 3600, header["BMIN"] * 3600, header["BPA"])] * len(data)
        else:
            table = f["BEAMS"].data if "BEAMS" in f else []
            beams = [(b["BMAJ"], b["BMIN"], b["BPA"]) for b in table]
    return data, header, beams


def smoothed(sky, cell, beam):
    """Jy/pixel to Jy/beam."""
    bmaj, bmin, pa = beam[0], beam[1], np.radians(beam[2])
    n = sky.shape[0]
    v, u = np.meshgrid(np.fft.fftfreq(n, cell), np.fft.rfftfreq(n, cell), indexing="ij")
    east, north = -u, v
    along, across = east * np.sin(pa) + north * np.cos(pa), east * np.cos(pa) - north * np.sin(pa)
    k = np.pi**2 / (4 * np.log(2))
    area = np.pi * bmaj * bmin / (4 * np.log(2)) / cell**2
    return np.fft.irfft2(np.fft.rfft2(sky) * np.exp(-k * ((along * bmaj) ** 2 + (across * bmin) ** 2)) * area, s=sky.shape)


def padded(sky, n):
    out = np.zeros((n, n))
    a = n // 2 - sky.shape[0] // 2
    out[a:a + sky.shape[0], a:a + sky.shape[1]] = sky
    return out


def rms(v):
    return float(np.sqrt(np.mean(np.square(v))))


def report(kind, name, program, prefix, truth_of):
    (image, header, beams), residual, model = read(prefix + "image.fits"), read(prefix + "residual.fits")[0], read(prefix + "model.fits")[0]
    mask, pb = read(prefix + "mask.fits")[0] > 0, read(prefix + "pb.fits")[0]
    pb = np.broadcast_to(pb, image.shape)
    inside = np.broadcast_to(mask, image.shape) & (pb > 0.5)
    outside = ~np.broadcast_to(mask, image.shape) & (pb > 0.5)
    truth = np.array([truth_of(i, beams[min(i, len(beams) - 1)], header) for i in range(len(image))])
    seen = image / np.where(pb > 0.05, pb, 1)
    difference = seen - truth
    fidelity = ""
    if kind == "disk":
        bright = inside & (truth > 0.05 * truth.max())
        fidelity = f"{np.median(np.abs(truth[bright]) / np.maximum(np.abs(difference[bright]), 0.7 * rms(difference[inside]))):.1f}"
    # Of a mosaic the model is that of the flat-noise image.
    flux = (model / np.where((pb > 0.2) & (kind == "galaxy"), pb, 1)).sum()
    out = f"{1e6 * rms(residual[outside]):.1f}" if outside.any() else ""
    print(f"| {name} | {program} | {1e3 * flux:.1f} | {1e6 * rms(residual[inside]):.1f} | {out} | {1e6 * rms(difference[inside]):.1f} | {fidelity} |", flush=True)


def disk_truth(model, truth, ms):
    sky = fits.getdata(model).astype(float)
    cell = 0.006
    t = json.load(open(truth))
    d = next(e for e in t["ebs"] if e["ms"] == os.path.basename(ms))["d_as"]

    def at(_, beam, header):
        # The window's middle frequency, as the image's header has it.
        scale = (header["CRVAL3"] / t["f_ref_hz"]) ** t["alpha"]
        wide = smoothed(padded(sky, 2048), cell, beam) * scale
        n = header["NAXIS1"]
        y, x = np.mgrid[:n, :n]
        east, north = -(x - n // 2) * 0.02 - d[0], (y - n // 2) * 0.02 - d[1]
        return map_coordinates(wide, [1024 + north / cell, 1024 - east / cell], order=3)

    return at


def galaxy_truth(sky):
    cube = fits.getdata(sky).astype(float)

    def at(i, beam, header):
        wide = smoothed(padded(cube[i + 4], 256), 0.6, beam)
        a = 128 - header["NAXIS1"] // 2
        return wide[a:a + header["NAXIS2"], a:a + header["NAXIS1"]]

    return at


def main(program, scratch, *cases):
    program, scratch = os.path.abspath(program), os.path.abspath(scratch)
    print("| run | program | model flux, mJy (times channels) | residual rms in the mask, uJy/beam | off it | image - truth, rms | fidelity |\n|---|---|---|---|---|---|---|")
    for case in cases:
        kind, files = case.split(":", 1)
        files = [os.path.abspath(f) for f in files.split(",")]
        sets = files[:1] if kind == "disk" else files[:-1]
        truth_of = disk_truth(files[1], files[2], files[0]) if kind == "disk" else galaxy_truth(files[-1])
        common, tcommon = (DISK, TDISK) if kind == "disk" else (GALAXY, TGALAXY)
        for i, (name, options, call) in enumerate(RUNS[kind]):
            report(kind, name, "this", ours(program, sets, common + options, f"{scratch}/{kind}{i}_this"), truth_of)
            if call is not None:
                report(kind, name, "tclean", tclean(sets, {**tcommon, **call}, f"{scratch}/{kind}{i}_tclean"), truth_of)


if __name__ == "__main__":
    main(*sys.argv[1:])
