// A server of its own for a test file: on a free port, with the bundled model, ended with the tests.
import {spawn} from 'node:child_process';
import {existsSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The built command: QWEN35_COMMAND, or where `make test` builds it. */
export const command = process.env.QWEN35_COMMAND || `${root}build/qwen35`;

/**
 * Starts `qwen35 serve` and waits until it takes requests. `args` come behind the model and the port; `model` and `env`
 * replace what is usual; port 0 is any that is free. Gives {url, port, pid, post(), log(), stop(), kill()}: post(path, body)
 * sends JSON and gives fetch's answer, log() is what the server wrote on standard error, stop() ends it by SIGTERM and
 * gives its exit status, kill() ends it at once.
 */
export async function startServer({args = [], model = 'mini', env = {}, port = 0} = {}) {
  if (!existsSync(command)) throw new Error(`${command} is not there; build it, or set QWEN35_COMMAND`);
  const child = spawn(command, ['serve', '--model', model, '--port', String(port), '--json', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {...process.env, ...env},
  });
  let log = '';
  let out = '';
  const exited = new Promise((resolve) => child.once('close', (status, signal) => resolve(status ?? signal)));
  child.stderr.setEncoding('utf8').on('data', (text) => (log += text));
  child.stdout.setEncoding('utf8');
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);

  const ready = new Promise((resolve) => {
    child.stdout.on('data', (text) => {
      out += text;
      if (out.includes('\n')) resolve(JSON.parse(out.slice(0, out.indexOf('\n'))));
    });
  });
  const started = await Promise.race([
    ready,
    exited.then((status) => Promise.reject(new Error(`the server ended with ${status} before it was ready:\n${log}`))),
  ]);
  return {
    ...started,
    post: (path, body) => postJson(started.url + path, body),
    pid: child.pid,
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      const status = await exited;
      process.removeListener('exit', kill);
      return status;
    },
    async kill() {
      kill();
      await exited;
      process.removeListener('exit', kill);
    },
  };
}

/** Sends a body as JSON: a string as it is, anything else written as JSON. */
export function postJson(url, body, headers = {}) {
  return fetch(url, {
    method: 'POST',
    headers: {'Content-Type': 'application/json', ...headers},
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** The value of a metric of `server`, the sum over its labels. */
export async function metric(server, name, headers = {}) {
  const text = await (await fetch(`${server.url}/metrics`, {headers})).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) throw new Error(`/metrics has no ${name}:\n${text}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
