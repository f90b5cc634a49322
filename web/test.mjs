// Bundles every *.test.ts into a folder of its own and runs it with Node's test runner.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

async function tests(folder) {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith(".test.ts")).map((name) => join(folder, name));
}

const out = await mkdtemp(join(tmpdir(), "tidewire-web-"));
try {
  const entryPoints = [...(await tests("client/test")), ...(await tests("console/test"))];
  await build({ entryPoints, outdir: out, bundle: true, platform: "node", format: "esm", outExtension: { ".js": ".mjs" } });
  const files = (await readdir(out, { recursive: true })).filter((name) => name.endsWith(".mjs")).map((name) => join(out, name));
  process.exitCode = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1;
} finally {
  await rm(out, { recursive: true });
}
