// node shorten.cjs FOLDER: {name: module's text} from standard input, compressed, short names inside; FOLDER has uglify-js.

const { minify } = require(process.argv[2]);

const scripts = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const name of Object.keys(scripts)) {
  const { code, error } = minify(scripts[name], { module: true, compress: { passes: 2 }, mangle: true });
  if (error) throw new Error(`${name}:${error.line}: ${error.message}`);
  scripts[name] = code;
}
process.stdout.write(JSON.stringify(scripts));
