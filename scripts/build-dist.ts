/**
 * `npm run build`: what would be published, one folder per package under `dist/`.
 *
 * Nothing is written beside the sources: an old `dist` there would be found by an import that lacks
 * the `@alknet/source` condition. Each package is compiled against the declarations of those before
 * it, as its users will be.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";

type Manifest = { name: string; exports?: Record<string, unknown>; [key: string]: unknown };

const OUT = "dist";
const LICENCES = ["LICENSE-MIT", "LICENSE-APACHE"];

const read = (file: string) => JSON.parse(readFileSync(file, "utf8")) as Manifest;
const write = (file: string, value: unknown) => {
  writeFileSync(file, `${JSON.stringify(value, undefined, 2)}\n`);
};

rmSync(OUT, { recursive: true, force: true });
const paths: Record<string, string[]> = {};
for (const folder of read("package.json")["workspaces"] as string[]) {
  const manifest = read(join(folder, "package.json"));
  const out = join(OUT, manifest.name);
  mkdirSync(out, { recursive: true });
  compile(folder, out);
  paths[`${manifest.name}/*`] = [`./${manifest.name}/dist/*.d.ts`];
  for (const name of ["README.md", "migrations", "vectors"]) {
    if (existsSync(join(folder, name)))
      cpSync(join(folder, name), join(out, name), { recursive: true });
  }
  finish(out, manifest);
}
for (const file of globSync("native/quic/npm/*/package.json")) {
  const manifest = read(file);
  const platform = basename(join(file, ".."));
  const addon = `native/quic/build/quic.${platform}.node`;
  if (!existsSync(addon)) continue; // another machine builds that one
  const out = join(OUT, manifest.name);
  mkdirSync(out, { recursive: true });
  cpSync(addon, join(out, basename(addon)));
  finish(out, manifest);
}

function compile(folder: string, out: string): void {
  if (globSync(`${folder}/src/**/*.ts`).length === 0) return;
  const config = join(OUT, "tsconfig.json");
  write(config, {
    extends: "../tsconfig.json",
    compilerOptions: {
      noEmit: false,
      customConditions: [],
      rootDir: join("..", folder, "src"),
      outDir: join("..", out, "dist"),
      paths,
    },
    include: [join("..", folder, "src")],
    exclude: ["../**/*.test.ts", "../**/test-*.ts"],
  });
  const { status } = spawnSync("node_modules/.bin/tsc", ["-p", config], { stdio: "inherit" });
  rmSync(config);
  if (status !== 0) process.exit(1);
}

/** Licences, and the manifest without what only a checkout has. */
function finish(out: string, { exports, ...manifest }: Manifest): void {
  for (const name of LICENCES) cpSync(name, join(out, name));
  write(join(out, "package.json"), {
    ...manifest,
    exports: exports && withoutSource(exports),
    files: [...((manifest["files"] as string[] | undefined) ?? []), "migrations", ...LICENCES],
  });
  console.log(out);
}

function withoutSource(exports: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(exports)
      .filter(([name]) => name !== "@alknet/source")
      .map(([name, to]) => [
        name,
        to !== null && typeof to === "object" ? withoutSource(to as Record<string, unknown>) : to,
      ]),
  );
}
