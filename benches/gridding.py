"""Gridding and degridding beside ducc0, on the same samples, one after the other in one run.

usage: gridding.py BENCH MS SPW SCRATCH [threads ..]

BENCH is the program that `cargo bench --bench gridding --no-run` makes. MS is read with python-casacore; Stokes I of linear or
circular feeds. Prints a table: wall seconds (least of five) and million samples a second, and the error of image and visibilities
against ducc0 at 1e-12 in double precision. For a machine with nothing else running.
"""
import os, subprocess, sys, time
import numpy as np
import ducc0

CELL, NPIX, REPEAT = 0.02, 512, 5


def samples(ms, spw):
    from casacore.tables import table, taql
    t = taql(f"select from {ms} where DATA_DESC_ID=={spw}")
    data, flag, weight = t.getcol("DATA"), t.getcol("FLAG"), t.getcol("WEIGHT")
    freq = table(ms + "/SPECTRAL_WINDOW", ack=False).getcell("CHAN_FREQ", spw)
    ends = [0, data.shape[2] - 1]
    flag = flag[..., ends].any(axis=2)
    vis = np.where(flag, 0, data[..., ends].mean(axis=2)).astype(np.complex64)
    wt = np.where(flag, 0, weight[:, ends].mean(axis=1)[:, None]).astype(np.float32)
    return t.getcol("UVW"), freq, vis, wt


def timed(work):
    best = 1e9
    for _ in range(REPEAT):
        c = time.perf_counter()
        out = work()
        best = min(best, time.perf_counter() - c)
    return best, out


def main(bench, ms, spw, scratch, *threads):
    os.makedirs(scratch, exist_ok=True)
    uvw, freq, vis, wt = samples(ms, int(spw))
    npz, npy = scratch + "/samples.npz", scratch + "/image.npy"
    np.savez(npz, uvw=uvw, freq=freq, vis=vis, weight=wt)
    cell, mask, million = np.radians(CELL / 3600), (wt != 0).astype(np.uint8), (wt != 0).sum() / 1e6
    # V = sum I exp(+2 pi i (ul + vm + w(n-1))), and x runs against l; ducc0 has exp(-2 pi i (ux + vy - w(n-1))).
    uvw_d = uvw * np.array([1.0, -1.0, 1.0])
    common = dict(uvw=uvw_d, freq=freq, pixsize_x=cell, pixsize_y=cell, mask=mask)
    size = dict(npix_x=NPIX, npix_y=NPIX)

    def ducc(dtype, eps, w, n, image=None):
        kw = dict(common, epsilon=eps, do_wgridding=w, nthreads=n)
        if image is not None:
            return ducc0.wgridder.dirty2vis(dirty=image, **kw)
        return ducc0.wgridder.vis2dirty(vis=vis.astype("c8" if dtype == "f4" else "c16"), wgt=wt.astype(dtype), **size, **kw)

    print(f"{ms} spw {spw}: {million:.2f} Mvis, {NPIX} x {NPIX} x {CELL} arcsec, ducc0 {ducc0.__version__}, load {os.getloadavg()[0]:.1f}")
    print("| precision, accuracy | w | threads | kernel | grid: s (Mvis/s) | ducc0 | ratio | grid + PSF | predict: s (Mvis/s) | ducc0 | ratio | error of image, vis |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for n in [int(t) for t in threads] or [1]:
        for w in (False, True):
            exact = ducc("f8", 1e-12, w, n)
            for dtype, eps in (("f4", 1e-4), ("f8", 1e-4), ("f8", 1e-7), ("f8", 1e-10)):
                dg, image = timed(lambda: ducc(dtype, eps, w, n))
                args = [bench, npz, "--accuracy", str(eps), "--repeat", str(REPEAT), "--image", npy, "--cell", str(CELL), "--npix", str(NPIX)]
                args += ["--single"] * (dtype == "f4") + ["--w"] * w
                line = subprocess.run(args, env=dict(os.environ, RAYON_NUM_THREADS=str(n)), capture_output=True, text=True, check=True).stdout.split()
                dp, _ = timed(lambda: ducc(dtype, eps, w, n, image))
                ours = np.load(npy).T
                rms = lambda v: float(np.sqrt(np.mean(np.abs(v) ** 2)))
                predicted, true = np.load(npy + ".vis.npy").reshape(vis.shape), ducc("f8", 1e-12, w, n, ours)
                used = mask != 0
                errors = rms(ours - exact) / rms(exact), rms((predicted - true)[used]) / rms(true[used])
                grid, both, predict = (float(line[line.index(k) + 2]) for k in ("grid", "with_psf", "predict"))
                print(f"| {'single' if dtype == 'f4' else 'double'}, {eps:.0e} | {'yes, ' + line[line.index('terms') + 1] + ' planes' if w else 'no'} | {n} | {line[line.index('kernel') + 1]} "
                      f"| {grid:.3f} ({million / grid:.1f}) | {dg:.3f} ({million / dg:.1f}) | {dg / grid:.2f} | {both:.3f} | {predict:.3f} ({million / predict:.1f}) "
                      f"| {dp:.3f} ({million / dp:.1f}) | {dp / predict:.2f} | {errors[0]:.0e}, {errors[1]:.0e} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
