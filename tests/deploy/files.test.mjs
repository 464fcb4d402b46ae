// The files of deploy/ that no test can run here: the systemd unit and the Dockerfile, read by systemd itself and by a parser.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {test} from 'node:test';
import {fileURLToPath} from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const deploy = (name) => readFileSync(path.join(root, 'deploy', name), 'utf8');

const options = spawnSync(process.env.QWEN35_COMMAND || path.join(root, 'build/qwen35'), ['serve', '--help'], {encoding: 'utf8'});

/** The long options in a command of ours, each of which `serve --help` must name. */
function assertOptions(command, where) {
  assert.equal(options.status, 0, options.stderr);
  const used = command.match(/--[a-z][a-z-]+/g);
  assert.ok(used.length > 3);
  for (const option of used) assert.match(options.stdout, new RegExp(`${option}\\b`), `${where}: qwen35 serve has no ${option}`);
}

test('the unit: its command has these options, and systemd understands every line', (t) => {
  const unit = deploy('qwen35.service');
  const command = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(unit)[1];
  assertOptions(command.replaceAll('\\\n', ' '), 'qwen35.service');
  const seconds = (name) => Number(new RegExp(`${name}[= ](\\d+)`).exec(unit)[1]);
  assert.ok(seconds('TimeoutStopSec') > seconds('--drain-delay') + seconds('--drain-timeout'), 'systemd waits for the drain');
  for (const line of ['Type=notify', 'DynamicUser=yes', 'ProtectSystem=strict', 'NoNewPrivileges=yes']) assert.ok(unit.includes(`\n${line}\n`), line);
  if (!existsSync('/usr/bin/systemd-analyze')) return t.skip('no systemd-analyze');
  const folder = mkdtempSync(path.join(os.tmpdir(), 'qwen35-unit-'));
  try {
    // The command need not be installed here.
    const copy = path.join(folder, 'qwen35.service');
    writeFileSync(copy, unit.replace('ExecStart=/usr/local/bin/qwen35', `ExecStart=${process.execPath}`));
    const {status, stdout, stderr} = spawnSync('systemd-analyze', ['verify', copy], {encoding: 'utf8'});
    assert.equal(`${stdout}${stderr}`, '');
    assert.equal(status, 0);
  } finally {
    rmSync(folder, {recursive: true});
  }
});

const kInstructions = ['FROM', 'RUN', 'CMD', 'LABEL', 'EXPOSE', 'ENV', 'ADD', 'COPY', 'ENTRYPOINT', 'VOLUME', 'USER', 'WORKDIR', 'ARG', 'ONBUILD', 'STOPSIGNAL', 'HEALTHCHECK', 'SHELL'];

/** The instructions of a Dockerfile: [{name, rest, stage}]. */
function parseDockerfile(text) {
  const found = [];
  let stage = -1;
  const whole = text.split('\n').filter((line) => !/^\s*#/.test(line)).join('\n').replaceAll(/\\\n/g, ' ');
  for (const line of whole.split('\n')) {
    if (line.trim() === '') continue;
    const [, name, rest] = /^([A-Z]+)\s+(\S.*)$/.exec(line) ?? assert.fail(`no instruction: ${line}`);
    assert.ok(kInstructions.includes(name), `${name} is no instruction of a Dockerfile`);
    if (name === 'FROM') ++stage;
    assert.ok(stage >= 0 || name === 'ARG', `${name} stands before FROM`);
    found.push({name, rest, stage});
  }
  return found;
}

test('the Dockerfile: instructions, stages, sources and scripts', () => {
  const all = parseDockerfile(deploy('Dockerfile'));
  const last = all.at(-1).stage;
  assert.equal(last, 1);
  const stages = all.filter(({name}) => name === 'FROM').map(({rest}) => {
    const [, image, alias] = /^(\S+)(?: AS (\S+))?$/.exec(rest) ?? assert.fail(rest);
    assert.equal(image, 'debian:bookworm-slim');
    return alias;
  });
  for (const {rest, stage} of all.filter(({name}) => name === 'COPY')) {
    const [, from, sources] = /^(?:--from=(\S+) )?(.*) \S+$/.exec(rest) ?? assert.fail(rest);
    if (from) assert.ok(stages.indexOf(from) >= 0 && stages.indexOf(from) < stage, `no stage ${from} before`);
    else for (const source of sources.split(' ')) assert.ok(existsSync(path.join(root, source)), `${source} is not in the repository`);
  }
  for (const {rest} of all.filter(({name}) => name === 'RUN')) {
    const {status, stderr} = spawnSync('bash', ['-n', '-c', rest], {encoding: 'utf8'});
    assert.equal(status, 0, stderr);
  }
  const final = all.filter(({stage}) => stage === last);
  const one = (name) => {
    const found = final.filter((instruction) => instruction.name === name);
    assert.equal(found.length, 1, name);
    return found[0].rest;
  };
  assert.match(one('USER'), /^[1-9]\d*:[1-9]\d*$/, 'not root');
  const [, flags, check] = /^((?:--\S+ )*)\s*CMD (.*)$/.exec(one('HEALTHCHECK'));
  assert.match(flags, /--start-period=/);
  assert.equal(JSON.parse(check).at(-1), 'http://127.0.0.1:8080/health');
  const command = [...JSON.parse(one('ENTRYPOINT')), ...JSON.parse(one('CMD'))];
  assertOptions(command.join(' '), 'Dockerfile');
  assert.ok(command.includes('0.0.0.0'));
});
