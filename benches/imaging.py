"""Images from a set to FITS files, whole processes side by side in one run: this program, tclean and WSClean, taking turns.

usage: imaging.py PROGRAM SCRATCH REPEATS CASE ..        CASE = continuum:MS | cube:MS | mosaic:MS,MS

PYTHON (with casatasks; default: this one) and WSCLEAN (default: wsclean) name the peers; those that are missing are left out. Prints, for
each case and program, the median of wall seconds, CPU seconds and peak memory over the repeats, and the wall seconds of tclean's
call alone (its start takes about two seconds). THREADS sets the threads of all three (default 1).
"""
import json, os, shutil, statistics, subprocess, sys, textwrap

PYTHON, WSCLEAN = os.environ.get("PYTHON", sys.executable), os.environ.get("WSCLEAN", "wsclean")
THREADS = os.environ.get("THREADS", "1")
SKY = 'phase_center: "J2000 39.1deg -10.85deg"'
CUBE = 'mode: "cube", start: "1343km/s", width: "5km/s", nchan: 52, rest_freq: "230.538GHz", cell: "0.6arcsec", npix: 162, ' + SKY
TCUBE = dict(specmode="cube", start="1343km/s", width="5km/s", nchan=52, outframe="LSRK", veltype="radio", restfreq="230.538GHz",
             imsize=[162, 162], cell="0.6arcsec", phasecenter="J2000 39.1deg -10.85deg", perchanweightdensity=False, spw="0")
CIRCLE = "circle[[256pix,256pix],85pix]"
CONT = f'spw: 0, datacolumn: "data", cell: "0.02arcsec", npix: 512, gridder: "standard"'
TCONT = dict(spw="0", specmode="mfs", imsize=512, cell="0.02arcsec", gridder="standard", pblimit=-0.1)
CLEAN = ', niter: 500, cycleniter: 100, mask: "' + CIRCLE + '"'
TCLEAN = dict(niter=500, cycleniter=100, gain=0.1, threshold="0Jy", usemask="user", mask=CIRCLE, deconvolver="hogbom", cyclefactor=1.0, restoringbeam="")
SCALES = ', deconvolver: "multiscale", scales: [0, 6, 12], smallscalebias: 0.6, cycleniter: 60, cyclefactor: 1.5, restoring_beam: "common"'
TSCALES = dict(deconvolver="multiscale", scales=[0, 6, 12], smallscalebias=0.6, gain=0.1, threshold="0Jy", cycleniter=60, cyclefactor=1.5, restoringbeam="common")

RUNS = {
    "continuum": [
        ("natural, dirty", CONT + ', weighting: "natural"', dict(TCONT, weighting="natural", niter=0), "-weight natural -niter 0"),
        ("Briggs 0.5, dirty", CONT + ", robust: 0.5", dict(TCONT, weighting="briggs", robust=0.5, niter=0), "-weight briggs 0.5 -niter 0"),
        ("Briggs 0.5, Hogbom 500", CONT + ", robust: 0.5" + CLEAN, dict(TCONT, weighting="briggs", robust=0.5, **TCLEAN), "-weight briggs 0.5 -niter 500 -mgain 0.85"),
    ],
    "cube": [
        ("cube of one field, dirty", CUBE + ', field: "gal_0", spw: 0, weighting: "natural", gridder: "standard"',
         dict(TCUBE, field="gal_0", gridder="standard", weighting="natural", niter=0), None),
        ("the same, multiscale 1500", CUBE + ', field: "gal_0", spw: 0, weighting: "natural", gridder: "standard", niter: 1500' + SCALES + ', mask: "pb:0.3"',
         dict(TCUBE, field="gal_0", gridder="standard", weighting="natural", niter=1500, usemask="pb", pbmask=0.3, **TSCALES), None),
    ],
    "mosaic": [
        ("joint mosaic cube, dirty", CUBE + ", spw: 0, robust: 0.5, per_channel_density: false, mosweight: false, pblimit: 0.2",
         dict(TCUBE, gridder="mosaic", weighting="briggs", robust=0.5, mosweight=False, pblimit=0.2, niter=0), None),
        ("the same, multiscale 3000", CUBE + ', spw: 0, robust: 0.5, per_channel_density: false, mosweight: false, pblimit: 0.2, niter: 3000, mask: "pb:0.3"' + SCALES,
         dict(TCUBE, gridder="mosaic", weighting="briggs", robust=0.5, mosweight=False, pblimit=0.2, niter=3000, usemask="pb", pbmask=0.3, **TSCALES), None),
    ],
}


def measured(command, folder, environment=None):
    """Wall, CPU seconds and MB of a process; None if it fails."""
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(["/usr/bin/time", "-f", "\n%e %U %S %M", *command], cwd=folder, capture_output=True, text=True, env=dict(os.environ, **(environment or {})))
    if done.returncode:
        print(done.stdout[-500:], done.stderr[-1000:], file=sys.stderr)
        return None
    wall, user, system, kb = map(float, done.stderr.strip().splitlines()[-1].split())
    call = next((float(l.split()[1]) for l in done.stdout.splitlines() if l.startswith("CALL ")), None)
    return wall, user + system, kb / 1024, call


def ours(program, sets, options, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    names = []
    for s in sets:
        os.symlink(os.path.abspath(s), os.path.join(folder, os.path.basename(s)))
        names.append(os.path.abspath(s))
    script = os.path.join(folder, "run.rhai")
    with open(script, "w") as f:
        f.write('let vis = param("vis", [], #{ path: "in" });\nprint(image(vis, "out", #{ %s }));\n' % options)
    # Its own project: the store of a folder above would know the step from the run before.
    os.makedirs(os.path.join(folder, ".phangs"))
    return measured([program, "run", script, "--threads", THREADS, "-p", "vis=" + ",".join(names)], folder)


def tclean(sets, options, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    call = dict(vis=[os.path.abspath(s) for s in sets], imagename="out", datacolumn="data", interactive=False, **options)
    script = textwrap.dedent(f"""
        import json, time
        from casatasks import tclean
        t = time.time(); tclean(**json.loads({json.dumps(json.dumps(call))})); print("CALL", time.time() - t)
    """)
    return measured([PYTHON, "-c", script], folder, {"OMP_NUM_THREADS": THREADS})


def wsclean(sets, options, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    size = "-size 512 512 -scale 0.02asec -data-column DATA -spws 0 -reorder -no-update-model-required -make-psf -pol I"
    return measured([WSCLEAN, "-j", THREADS, *size.split(), *options.split(), *[os.path.abspath(s) for s in sets]], folder)


def main(program, scratch, repeats, *cases):
    program = os.path.abspath(program)
    scratch = os.path.abspath(scratch)
    print(f"threads {THREADS}, load {os.getloadavg()[0]:.1f}, medians of {repeats}\n")
    print("| case | program | wall s | CPU s | MB | tclean's call s | wall over ours | CPU over ours |\n|---|---|---|---|---|---|---|---|")
    for case in cases:
        kind, sets = case.split(":", 1)
        sets = sets.split(",")
        for name, options, call, wsc in RUNS[kind]:
            programs = {"this": lambda: ours(program, sets, options, scratch + "/this"), "tclean": lambda: tclean(sets, call, scratch + "/tclean")}
            if wsc is not None and shutil.which(WSCLEAN):
                programs["wsclean"] = lambda: wsclean(sets, wsc, scratch + "/wsclean")
            seen = {p: [] for p in programs}
            for _ in range(int(repeats)):
                for p, work in programs.items():
                    seen[p].append(work())
            median = lambda p, i: statistics.median([r[i] for r in seen[p] if r and r[i] is not None] or [float("nan")])
            for p in programs:
                wall = median(p, 3) if p == "tclean" else median(p, 0)
                print(f"| {name} | {p} | {median(p, 0):.2f} | {median(p, 1):.2f} | {median(p, 2):.0f} | {f'{median(p, 3):.2f}' if p == 'tclean' else ''} "
                      f"| {wall / median('this', 0):.1f} | {median(p, 1) / median('this', 1):.1f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
