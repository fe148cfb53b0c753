// usage: node validate.mjs TOOLS OUT FILE...
// Each document of the files against Kubernetes' own types, unknown fields included. The shipped validators look at kinds of values
// and let unknown fields pass; so each document is also written into OUT as a TypeScript literal, where tsc lets none pass.
import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { join, relative } from "node:path";

const [tools, out, ...files] = process.argv.slice(2);
const modules = join(tools, "node_modules");
const { parseAllDocuments } = createRequire(join(tools, "package.json"))("yaml");
const problems = [];

function moduleOf({ apiVersion, kind }) {
  return ["kubernetes-models", "@kubernetes-models/prometheus-operator"]
    .map((name) => join(modules, name, apiVersion, `${kind}.js`))
    .find((path) => existsSync(path));
}

async function check(object, place) {
  const path = moduleOf(object);
  if (!path) {
    problems.push(`${place}: no such kind`);
    return null;
  }
  const model = (await import(pathToFileURL(path)))[object.kind];
  try {
    new model(object).validate();
  } catch (error) {
    problems.push(`${place}: ${error.message}`);
  }
  return path;
}

function literal(object, path, number, place) {
  const from = JSON.stringify("./" + relative(out, path));
  return `// ${place}\nimport type { I${object.kind} as T${number} } from ${from};\n` +
    `export const d${number}: T${number} = ${JSON.stringify(object, null, 1)};\n`;
}

const literals = [];
for (const file of files) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"), { uniqueKeys: true })) {
    problems.push(...document.errors.map((error) => `${file}: ${error.message}`));
    const object = document.errors.length ? null : document.toJS();
    if (!object) continue;
    const place = `${file}: ${object.kind} ${object.metadata?.name}`;
    const path = await check(object, place);
    if (path) literals.push(literal(object, path, literals.length, place));
  }
}

mkdirSync(out, { recursive: true });
writeFileSync(join(out, "manifests.ts"), literals.join("\n"));
writeFileSync(join(out, "tsconfig.json"), JSON.stringify({
  compilerOptions: { strict: true, noEmit: true, module: "nodenext", moduleResolution: "nodenext", target: "es2022", skipLibCheck: true, types: [] },
  files: ["manifests.ts"],
}));
const tsc = spawnSync(process.execPath, [join(modules, "typescript/bin/tsc"), "-p", join(out, "tsconfig.json")], { encoding: "utf8" });
if (tsc.status !== 0) problems.push(tsc.stdout + tsc.stderr);
for (const problem of problems) console.log(problem);
console.log(`${literals.length} documents, ${problems.length} problems`);
process.exit(problems.length || !literals.length ? 1 : 0);
