// Builds the console into src/tidewire/console/assets, or into the folder named after --out. The same sources give the same bytes.
import { copyFile, mkdir, readdir, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { out: { type: "string" } } });
const out = resolve(values.out ?? join(here, "../src/tidewire/console/assets"));
const from = join(here, "console");
const BUDGET = { "app.js": 60 * 1024, "documents.js": 50 * 1024, "first.js": 1024 }; // bytes of script

await mkdir(out, { recursive: true });
for (const name of await readdir(out)) await rm(join(out, name));
await build({
  absWorkingDir: from,
  entryPoints: { app: "src/main.ts", documents: "src/documents/main.ts", first: "src/first.ts" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox114", "safari16.4"],
  legalComments: "none",
  sourcemap: false,
  charset: "utf8",
});
await build({
  absWorkingDir: from,
  entryPoints: ["app.css", "documents.css"],
  outdir: out,
  minify: true,
  bundle: true,
  external: ["/console/*"],
  target: ["chrome111", "firefox114", "safari16.4"],
  legalComments: "none",
  charset: "utf8",
});
for (const name of ["index.html", "documents.html", "tidewire.svg", "wave.svg"]) await copyFile(join(from, name), join(out, name));

for (const name of (await readdir(out)).sort()) {
  const { size } = await stat(join(out, name));
  console.log(`${String(size).padStart(7)} ${name}`);
  if (size > (BUDGET[name] ?? Number.POSITIVE_INFINITY)) throw new Error(`${name} has ${size} bytes, the limit is ${BUDGET[name]}: find what grew`);
}
