// Command lines of the form `--name value` and `--flag`.

/** Reads the options named in `known` (name -> default); a default of `false` makes a flag. */
export function readArguments(known, argv = process.argv.slice(2)) {
  const options = { ...known };
  for (let i = 0; i < argv.length; i += 1) {
    const name = argv[i].replace(/^--/, "");
    if (!argv[i].startsWith("--") || !(name in known)) {
      fail(`unknown option ${argv[i]}; known: --${Object.keys(known).join(" --")}`);
    } else if (known[name] === false) {
      options[name] = true;
    } else if (argv[i + 1] === undefined) {
      fail(`${argv[i]} needs a value`);
    } else {
      i += 1;
      options[name] = typeof known[name] === "number" ? Number(argv[i]) : argv[i];
    }
  }
  return options;
}

/** One JSON object a line: what the callers of these scripts read. */
export function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
