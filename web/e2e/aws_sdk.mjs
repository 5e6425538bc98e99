// The unmodified AWS SDK for JavaScript takes the steps of tests/it/boto3/walk.json, each operation that it has at least
// once, and reads pages. Of IVS's operations it lacks those on failover slates, still. The environment names the server: ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import * as ivs from "@aws-sdk/client-ivs";

const scripts = new URL("../../tests/it/boto3/", import.meta.url);
const read = (name) => readFileSync(new URL(name, scripts), "utf8");
const client = new ivs.IvsClient({ endpoint: process.env.ENDPOINT, region: "eu-west-1", maxAttempts: 1 });
const send = (operation, input) => client.send(new ivs[`${operation}Command`](input));

const SLATE = "FailoverSlate";
const isOfSlates = (step) => step.operation.includes(SLATE) || "failoverSlateConfigurationArn" in step.input;

/** The value with what is known under its `$name`s. */
function filled(value, names) {
  if (Array.isArray(value)) return value.map((item) => filled(item, names));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, filled(member, names)]));
  }
  return typeof value === "string" && value.startsWith("$") ? names[value.slice(1)] : value;
}

/** All that is expected is in the answer: lists in full, of objects the members that are named. */
function holds(answer, expected, step) {
  if (Array.isArray(expected)) {
    assert.equal(answer?.length, expected.length, step);
    expected.forEach((item, n) => holds(answer[n], item, step));
  } else if (expected && typeof expected === "object") {
    for (const [key, value] of Object.entries(expected)) holds(answer?.[key], value, step);
  } else {
    assert.deepEqual(answer, expected, step);
  }
}

async function walk() {
  const names = { pem: read("keys/1.pem") };
  const steps = JSON.parse(read("walk.json"));
  for (const step of steps) {
    if (isOfSlates(step)) continue;
    const words = JSON.stringify(step);
    const call = send(step.operation, filled(step.input, names));
    if (step.error) {
      await assert.rejects(call, (error) => {
        assert.equal(error.name, step.error, words);
        assert.ok(error instanceof ivs[step.error] && error.message && error.message !== "UnknownError", words);
        return true;
      });
      continue;
    }
    const answer = await call;
    holds(answer, filled(step.output ?? {}, names), words);
    for (const [name, path] of Object.entries(step.save ?? {})) {
      const [member, of] = path.split(".");
      names[name] = answer[member][of];
    }
  }
  const known = Object.keys(ivs).filter((name) => /^[A-Z]\w+Command$/.test(name)).map((name) => name.slice(0, -7));
  const taken = new Set(steps.map((step) => step.operation));
  assert.deepEqual(known.filter((name) => !taken.has(name)), []);
  // An SDK that has learned about slates is to take their steps, too.
  const lacking = [...taken].filter((name) => !known.includes(name));
  assert.ok(lacking.length === 5 && lacking.every((name) => name.includes(SLATE)), lacking.join());
}

async function pages() {
  const made = [];
  for (let n = 0; n < 5; n++) made.push((await send("CreateChannel", { name: "page" })).channel.arn);
  const sizes = [], listed = [];
  for await (const page of ivs.paginateListChannels({ client, pageSize: 2 }, { filterByName: "page" })) {
    sizes.push(page.channels.length);
    listed.push(...page.channels.map((channel) => channel.arn));
  }
  assert.deepEqual([listed, sizes], [made, [2, 2, 1]]);
  for (const arn of made) await send("DeleteChannel", { arn });
}

await walk();
await pages();
