// A report in a real browser: valid HTML, no axe violation (contrast included), no network request, no console message, nothing
// wider than the page, first paint below 1 s; desktop and phone, light and dark.
//
//   cd tests/browser && npm install
//   node check.mjs ../../plots/step2_phase_alignment/report/index.html [FOLDER FOR SCREENSHOTS]
//
// Chromium is looked for at CHROMIUM, else /usr/bin/chromium. A page with 2,000 figures is made by
//   PHANGS_REPORT_OUT=FOLDER cargo test --release --lib pages_to_look_at -- --ignored
import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

const [page, shots] = process.argv.slice(2);
const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
if (!page || !existsSync(page)) {
  console.error("usage: node check.mjs REPORT.html [FOLDER]");
  process.exit(1);
}
let browsers, HtmlValidate;
try {
  browsers = (await import("playwright-core")).chromium;
  ({ HtmlValidate } = await import("html-validate"));
} catch {
  console.log("skipped: npm install was not run in tests/browser");
  process.exit(0);
}
if (!existsSync(chromium)) {
  console.log(`skipped: no browser at ${chromium}`);
  process.exit(0);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FIRST_PAINT_MS = 1000;
const faults = [];

const report = await new HtmlValidate({ extends: ["html-validate:recommended"] }).validateFile(page);
for (const m of report.results.flatMap(r => r.messages)) faults.push(`html ${m.line}:${m.column} ${m.ruleId}: ${m.message}`);

const browser = await browsers.launch({ executablePath: chromium, args: ["--no-sandbox"] });
for (const [device, width, height] of [["desktop", 1280, 900], ["phone", 390, 844]]) {
  for (const colorScheme of ["light", "dark"]) {
    const name = `${device} ${colorScheme}`;
    const context = await browser.newContext({ viewport: { width, height }, colorScheme });
    const tab = await context.newPage();
    tab.on("request", r => { if (!/^(file|data):/.test(r.url())) faults.push(`${name}: requests ${r.url()}`); });
    tab.on("console", m => { if (["error", "warning"].includes(m.type())) faults.push(`${name}: ${m.text()}`); });
    tab.on("pageerror", e => faults.push(`${name}: ${e}`));
    await tab.goto("file://" + path.resolve(page), { waitUntil: "commit" });
    await tab.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    const paint = await tab.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
    await tab.waitForLoadState("load");
    const wider = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    const images = await tab.evaluate(() => document.images.length);
    if (paint > FIRST_PAINT_MS) faults.push(`${name}: first paint after ${paint.toFixed(0)} ms`);
    if (wider > 0) faults.push(`${name}: ${wider} px wider than the page`);
    if (shots) await tab.screenshot({ path: path.join(shots, `${device}-${colorScheme}.png`) });
    // what is folded or not yet laid out is checked as well; axe comes in past the page's policy
    await tab.evaluate(() => {
      document.querySelectorAll("details").forEach(d => { d.open = true; });
      document.querySelectorAll(".cell, figure").forEach(d => { d.style.contentVisibility = "visible"; });
    });
    let violations = "not looked for above 200 figures";
    if (images <= 200) {
      await tab.evaluate(axe);
      const found = await tab.evaluate(() => axe.run(document).then(r => r.violations.map(v => `${v.id}: ${v.nodes[0].html.slice(0, 160)}`)));
      found.forEach(v => faults.push(`${name}: axe ${v}`));
      violations = found.length;
    }
    console.log(`${name}: first paint ${paint.toFixed(0)} ms, ${images} figures, axe violations ${violations}`);
    await context.close();
  }
}
await browser.close();
faults.forEach(f => console.error(f));
console.log(faults.length ? `${faults.length} faults` : "no fault");
process.exit(faults.length ? 1 : 0);
