#!/usr/bin/env python3
"""Derived products of one large cube: CPU seconds and memory of the program, of spectral-cube's moments, and of astropy's convolution.

usage: products_speed.py PHANGS_SCRIPT SCRATCH_FOLDER [REPEATS]

Makes a cube of 512 x 512 x 200 voxels (210 MB) with the program's own simulator, then, alternately in one run:
 - native: noise, strict and broad mask, all maps of the PHANGS-ALMA moment key at the resolution of the cube;
 - full: the same with one convolution, velocity field, shuffled cube and flat maps;
 - spectral-cube: read, mask, moments 0, 1, 2, peak and its channel, of the same cube and mask;
 - one plane convolved: this program over the cube, astropy's convolve_fft, numpy's forward and inverse FFT of the plane alone.
Every run of the program does all steps again. CPU is user + system of the whole process; memory is the largest resident size.
Needs astropy and spectral-cube. Prints a table in Markdown, and whether 1 and 2 threads wrote the same pixels.
"""
import os, resource, subprocess, sys, time

program, scratch = (os.path.abspath(p) for p in sys.argv[1:3])
repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 3
os.makedirs(f"{scratch}/scripts", exist_ok=True)
os.chdir(scratch)

SIMULATE = 'simulate_galaxy("sim", #{ pixels: 512, channels: 200, channel_width: "2km/s", cell: "0.3arcsec", beam: "1.5arcsec" });'
NATIVE = """
let c = "sim/galaxy.fits"; let out = param("to", "native", #{ path: "out" });
let n = noise(c, `${out}/noise.fits`);
let m = mask_strict(c, n, `${out}/strict.fits`);
let b = mask_broad([m], `${out}/broad.fits`);
maps(c, moment_key(`${out}/g`, #{ strict: m, broad: b }), n);
"""
FULL = """
let c = "sim/galaxy.fits"; let out = param("to", "full", #{ path: "out" });
let low = convolve(c, `${out}/low.fits`, `${out}/low_coverage.fits`, `${out}/low_coverage2d.fits`, #{ beam: ["2.5arcsec"] });
let steps = [];
for x in [[c, `${out}/g`, ()], [low, `${out}/low`, `${out}/low_coverage.fits`]] {
    let n = noise(x[0], `${x[1]}_noise.fits`);
    let m = if x[2] == () { mask_strict(x[0], n, `${x[1]}_strict.fits`) } else { mask_strict(x[0], n, `${x[1]}_strict.fits`, x[2]) };
    steps.push([x[0], x[1], n, m]);
}
let b = mask_broad(steps.map(|x| x[3]), `${out}/broad.fits`);
let v = [];
for x in steps {
    maps(x[0], moment_key(x[1], #{ strict: x[3], broad: b }), x[2]);
    v.push(mom1_with_prior(#{ strict: `${x[1]}_strict_mom1.fits`, strict_error: `${x[1]}_strict_emom1.fits`, broad: `${x[1]}_broad_mom1.fits`,
        broad_error: `${x[1]}_broad_emom1.fits`, mom0: `${x[1]}_broad_mom0.fits`, mom0_error: `${x[1]}_broad_emom0.fits`,
        prior: `${x[1]}_strict_mom1.fits` }, `${x[1]}_mom1wprior.fits`, `${x[1]}_emom1wprior.fits`));
}
let field = velocity_field(v, `${out}/vfield.fits`);
shuffle(c, field, `${out}/shuffled.fits`);
let fs = mask_velocity(c, field, `${out}/flatstrict.fits`, steps[0][3], #{ window: "40km/s" });
let fb = mask_velocity(c, field, `${out}/flatbroad.fits`, b, #{ window: "40km/s" });
maps(c, moment_key(`${out}/g`, #{ flatstrict: fs, flatbroad: fb }), steps[0][2]);
"""
CONVOLVE = 'convolve("sim/galaxy.fits", `${param("to", "conv", #{ path: "out" })}/c.fits`, #{ beam: ["3arcsec"] });'
SPECTRAL_CUBE = """
import warnings; warnings.simplefilter("ignore")
import resource, time
import numpy as np, astropy.units as u
from astropy.io import fits
from spectral_cube import SpectralCube
start = time.process_time()
cube = SpectralCube.read("sim/galaxy.fits"); cube.allow_huge_operations = True
mask = fits.getdata("native1/strict.fits").astype(bool)
cube = cube.with_spectral_unit(u.km / u.s).with_mask(mask)
maps = cube.moment0(), cube.moment1(), cube.linewidth_sigma()
cube.max(axis=0); cube.argmax(axis=0)
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, end=" ")
worst = 0
for name, theirs in zip(("mom0", "mom1", "mom2"), maps):
    ours = fits.getdata(f"native1/g_strict_{name}.fits"); t = theirs.value; ok = mask.any(0) & np.isfinite(ours) & np.isfinite(t)
    worst = max(worst, np.max(np.abs(ours - t)[ok] / np.abs(t[ok])))
print(worst)
"""
ASTROPY = """
import warnings; warnings.simplefilter("ignore")
import time
import numpy as np
from astropy.io import fits
from astropy.convolution import convolve_fft, Gaussian2DKernel
planes = fits.getdata("sim/galaxy.fits")[:5].astype(float)
kernel = Gaussian2DKernel(np.sqrt(3.0**2 - 1.5**2) / 0.3 / np.sqrt(8 * np.log(2)))
start = time.process_time(); out = [convolve_fft(p, kernel, allow_huge=True) for p in planes]; a = (time.process_time() - start) / 5
start = time.process_time(); [np.fft.irfft2(np.fft.rfft2(p)) for p in planes]; b = (time.process_time() - start) / 5
ours = fits.getdata("conv1/c.fits")[:5]
inside = (slice(40, -40), slice(40, -40))  # at the edges the outside counts differently
print(a * 1e3, b * 1e3, max(np.abs(o[inside] - t[inside]).max() for o, t in zip(ours, out)) / np.abs(np.array(out)).max())
"""


def timed(command):
    """CPU seconds, wall seconds, largest resident MB of one process."""
    start = time.perf_counter()
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = p.stdout.read(), p.stderr.read()
    _, status, used = os.wait4(p.pid, 0)
    if status != 0:
        sys.exit(err.decode())
    return used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1024, out.decode()


def script(name, text, threads):
    open(f"scripts/{name}.rhai", "w").write(text)
    return timed([program, "run", f"scripts/{name}.rhai", "--quiet", "--force", "--threads", str(threads), "-p", f"to={name}{threads}"])


if not os.path.exists("sim/galaxy.fits"):
    open("scripts/simulate.rhai", "w").write(SIMULATE)
    timed([program, "run", "scripts/simulate.rhai", "--quiet"])
size = os.path.getsize("sim/galaxy.fits") / 1e6
best = {}
for _ in range(repeats):
    for name, text in (("native", NATIVE), ("full", FULL), ("conv", CONVOLVE)):
        for threads in (1, 2):
            r = script(name, text, threads)
            old = best.get((name, threads))
            best[name, threads] = r if old is None else tuple(min(a, b) for a, b in zip(old[:2], r[:2])) + (max(old[2], r[2]),)
    for name, text in (("spectral-cube", SPECTRAL_CUBE), ("astropy", ASTROPY)):
        r = [float(v) for v in timed([sys.executable, "-c", text])[3].split()]
        best[name] = r if name not in best else [min(a, b) for a, b in zip(best[name], r)]
print(f"load {os.getloadavg()[0]:.1f}; least of {repeats} runs; cube {size:.0f} MB\n")
print("| | threads | CPU s | wall s | memory MB | memory / cube |\n|-|-|-|-|-|-|")
for (name, threads), (cpu, wall, mb, *_) in [(k, v) for k, v in best.items() if isinstance(k, tuple)]:
    print(f"| {name} | {threads} | {cpu:.2f} | {wall:.2f} | {mb:.0f} | {mb * 1.048576 / size:.2f} |")
cpu, mb, worst = best["spectral-cube"]
print(f"| spectral-cube, moments 0, 1, 2, peak and its channel | 1 | {cpu:.2f} | | {mb:.0f} | {mb * 1.048576 / size:.2f} |")
a, b, worst_convolved = best["astropy"]
print(f"\nLargest relative difference of the moments from spectral-cube's: {worst:.1e}.")
print(f"A plane convolved: {best['conv', 1][0] / 200 * 1e3:.1f} ms CPU with reading and writing, convolve_fft {a:.1f} ms, numpy's FFT and back {b:.1f} ms;")
print(f"largest difference from convolve_fft inside: {worst_convolved:.1e} of the peak.")
def pixels(path):
    import numpy as np
    from astropy.io import fits
    return [np.asarray(h.data).tobytes() for h in fits.open(path, memmap=False) if h.data is not None]
names = [(f"{n}1/{f}", f"{n}2/{f}") for n in ("native", "full", "conv") for f in sorted(os.listdir(f"{n}1"))]
print(f"1 and 2 threads: {sum(pixels(a) == pixels(b) for a, b in names)} of {len(names)} files have the same pixels.")
