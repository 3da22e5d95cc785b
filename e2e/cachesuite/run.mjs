// Runs the tests of http-cache-tests against a cache whose origin is the suite's own server, and prints what came of each as JSON:
//   node run.mjs BASE-URL [TEST-ID ...]
// A verdict is pass, fail or setup; a test of kind check has none to pass: yes and no describe a behaviour.
import { writeSync } from 'node:fs'
import fetch from 'node-fetch'
import { runTests, getResults } from 'http-cache-tests/client/runner.mjs'
import suites from 'http-cache-tests/tests/index.mjs'

const [base, ...wanted] = process.argv.slice(2)
const selected = suites
  .map(s => ({ ...s, tests: s.tests.filter(t => !t.browser_only && (wanted.length === 0 || wanted.includes(t.id))) }))
  .filter(s => s.tests.length > 0)

await runTests(selected, fetch, false, base)
const results = getResults()
const out = {}
for (const suite of selected) {
  for (const test of suite.tests) {
    const kind = test.kind ?? 'required'
    const result = results[test.id]
    let verdict
    if (result === true) verdict = kind === 'check' ? 'yes' : 'pass'
    else if (result?.[0] === 'Setup') verdict = 'setup'
    else verdict = kind === 'check' ? 'no' : 'fail'
    out[test.id] = { suite: suite.id, kind, verdict, detail: result === true ? '' : String(result?.[1] ?? 'no result') }
  }
}
writeSync(1, JSON.stringify(out)) // all of it, before the process ends
process.exit(0)
