// node shorten.cjs FOLDER: {name: module's text} from standard input, compressed, short names inside; FOLDER has uglify-js.

const { minify } = require(process.argv[2]);

// A component is the same one at every turn: it must not be moved into where it is used.
const KEPT = { reduce_vars: false, collapse_vars: false, inline: false };

const scripts = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const name of Object.keys(scripts)) {
  const { code, error } = minify(scripts[name], { module: true, compress: KEPT, mangle: true });
  if (error) throw new Error(`${name}:${error.line}: ${error.message}`);
  scripts[name] = code;
}
process.stdout.write(JSON.stringify(scripts));
