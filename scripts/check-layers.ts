/**
 * `npm run layers`: imports point one way. The `workspaces` list, bottom-up, is the layering.
 *
 * A package may depend on those before it in the list, but not on its siblings; it imports only what
 * its manifest names; relative imports stay inside it, and never run in a circle, those of types neither;
 * `wire/` imports nothing outside itself. The insides of ssh2 are known to one folder. What only the tests of
 * a package use is `test-*.ts`: not published, and held to as tests are.
 *
 * @module
 */

import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { basename, dirname, join } from "node:path";
import process from "node:process";

/** Packages that do not know each other. A store is handed in: only the top names one. */
const siblings = [
  ["quic", "vault"],
  ["store-sqlite", "store-postgres", "tunnel", "ssh", "sftp", "git", "fs", "http", "dns", "msg"],
].map((layer) => layer.map((name) => `packages/${name}`));

/** What a dependency has not published, and the only folder that may load it. */
const insides = { of: "ssh2/lib/", home: "packages/ssh/src/ssh2-extension/" };

const root = manifest(".");
const packages = root.workspaces.map((folder) => ({ folder, ...manifest(folder) }));
const mistakes = packages.flatMap((it, rank) => [
  ...wrongDependencies(it, rank),
  ...wrongImports(it),
  ...circles(it),
]);
mistakes.push(...wrongInsides());
for (const mistake of mistakes) console.error(mistake);
console.log(`layers: ${packages.length} packages, ${mistakes.length} mistakes`);
process.exitCode = mistakes.length > 0 ? 1 : 0;

function* wrongDependencies({ folder, run, dev }: (typeof packages)[number], rank: number) {
  for (const [otherRank, other] of packages.entries()) {
    if (!run.has(other.name) && !dev.has(other.name)) continue;
    const apart = siblings.some((layer) => layer.includes(folder) && layer.includes(other.folder));
    if (apart) yield `${folder} depends on ${other.name}, its sibling`;
    if (otherRank >= rank) yield `${folder} depends on ${other.name}, which is not below it`;
  }
}

function* wrongImports({ folder, name, run, dev }: (typeof packages)[number]) {
  for (const file of globSync(`${folder}/src/**/*.ts`)) {
    const ofTests = isTest(file);
    const allowed = ofTests ? new Set([name, ...run, ...dev, ...root.dev]) : run;
    // A test reads the package's vectors too.
    const home = ofTests ? `${folder}/` : (/^.*\/wire\//.exec(file)?.[0] ?? `${folder}/src/`);
    for (const specifier of imports(readFileSync(file, "utf8"))) {
      if (isBuiltin(specifier)) continue;
      const from = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
      if (specifier.startsWith(".") || home.endsWith("/wire/")) {
        const inside = specifier.startsWith(".") && join(dirname(file), specifier).startsWith(home);
        if (!inside) yield `${file} imports ${specifier}, which is outside ${home}`;
      } else if (!allowed.has(from)) {
        yield `${file} imports ${specifier}, but ${folder}/package.json does not name ${from}`;
      }
    }
  }
}

/** Each circle of imports between files of a package, as a walk through them that comes back. */
function* circles({ folder }: (typeof packages)[number]) {
  const unseen = new Set(globSync(`${folder}/src/**/*.ts`).filter((file) => !isTest(file)));
  for (const file of unseen) yield* walk(file, []);

  function* walk(file: string, path: readonly string[]): Generator<string> {
    if (path.includes(file)) {
      const circle = [...path.slice(path.indexOf(file)), file];
      yield `${circle.join(" imports ")}: move what they share below them, or into one file`;
    }
    if (!unseen.delete(file)) return;
    for (const specifier of imports(readFileSync(file, "utf8"))) {
      if (specifier.startsWith(".")) yield* walk(join(dirname(file), specifier), [...path, file]);
    }
  }
}

function isTest(file: string): boolean {
  return file.endsWith(".test.ts") || basename(file).startsWith("test-");
}

function* wrongInsides() {
  for (const file of globSync("{packages/*/src,interop,bench,fuzz,examples}/**/*.ts")) {
    if (file.startsWith(insides.home)) continue;
    const source = readFileSync(file, "utf8");
    const modules = imports(source).map((specifier) => join(dirname(file), specifier));
    if (source.includes(`"${insides.of}`) || modules.includes(`${insides.home}insides.ts`)) {
      yield `${file} knows the insides of ssh2, which are for ${insides.home} alone`;
    }
  }
}

/** What a source imports: statements at the start of a line, and `import("…")` outside comments. */
function imports(source: string): string[] {
  const statement = /^(?:import|export)\s(?:[\w\s{},*$]*\bfrom\s*)?["']([^"'\n]+)["']/gm;
  const dynamic = /^(?!\s*(?:\*|\/[/*])).*?\bimport\(\s*["']([^"'\n]+)["']/gm;
  const found = [...source.matchAll(statement), ...source.matchAll(dynamic)];
  return found.map(([, specifier]) => specifier ?? "");
}

function manifest(folder: string) {
  const text = readFileSync(join(folder, "package.json"), "utf8");
  const {
    name,
    workspaces = [],
    ...rest
  } = JSON.parse(text) as {
    name: string;
    workspaces?: string[];
    [section: string]: unknown;
  };
  const names = (...sections: string[]) => sections.flatMap((key) => Object.keys(rest[key] ?? {}));
  const run = new Set(names("dependencies", "optionalDependencies", "peerDependencies"));
  return { name, workspaces, run, dev: new Set(names("devDependencies")) };
}
