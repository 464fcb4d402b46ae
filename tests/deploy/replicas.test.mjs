// deploy/haproxy.cfg as it stands, over three real servers: conversations keep to their replica, and nothing is lost silently
// when one is killed or drained under load.
import assert from 'node:assert/strict';
import {spawn, spawnSync} from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import {after, before, test} from 'node:test';
import {fileURLToPath} from 'node:url';

import {metric, startServer} from '../web/server.mjs';

const config = fileURLToPath(new URL('../../deploy/haproxy.cfg', import.meta.url));
const haproxy = process.env.HAPROXY || '/usr/sbin/haproxy';
const kConversations = 30;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const replicas = [];
let balancer;
let url;
let stats;

// One thread each: the machine of the test has few cores, and four processes of this test share it.
const start = (port = 0) => startServer({port, args: ['--threads', '1', '--drain-delay', '2']});

async function freePorts(count) {
  const probes = await Promise.all(Array.from({length: count}, () => new Promise((resolve) => {
    const probe = net.createServer();
    probe.listen(0, '127.0.0.1', () => resolve(probe));
  })));
  const ports = probes.map((probe) => probe.address().port);
  await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))));
  return ports;
}

async function until(check, what, ms = 40000) {
  for (const end = Date.now() + ms; ;) {
    const found = await check().catch(() => null);
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${what}`);
    await pause(50);
  }
}

/** A column of HAProxy's table of its servers: name → value. */
async function column(index) {
  const text = await (await fetch(`${stats}/;csv`)).text();
  return Object.fromEntries(text.split('\n').filter((line) => line.startsWith('replicas,replica')).map((line) => {
    const cells = line.split(',');
    return [cells[1], cells[index]];
  }));
}
const states = () => column(17);  // 'UP', 'DOWN', …
/** How often a replica was taken out. On a machine that stands still for seconds that happens to healthy ones. */
const falls = async () => Object.values(await column(22)).reduce((sum, count) => sum + Number(count), 0);

/** Runs `check` until no replica was taken out meanwhile: what holds while all are up cannot be seen otherwise. */
async function whileAllUp(check) {
  for (let attempt = 0; attempt < 5; ++attempt) {
    await until(async () => Object.values(await states()).every((state) => state === 'UP'), 'all replicas up');
    await pause(attempt === 0 ? 0 : 1500);  // the slow start
    const before = await falls();
    const outcome = await check(attempt).then(() => null, (error) => error);
    if (outcome === null) return;
    if (await falls() === before) throw outcome;
  }
  throw new Error('the replicas were never up for as long as the check takes');
}

const agent = new http.Agent({keepAlive: true, maxSockets: 64});

/**
 * One streamed request. Never throws: {status, served, finish, text, cached, error, began}. `finish` null with status 200 is a
 * stream that was cut, which the client sees by that; `error` is what the connection did.
 */
function ask(messages, headers = {}) {
  const began = Date.now();
  return new Promise((resolve) => {
    const result = {began, status: 0, served: null, finish: null, text: '', cached: 0, error: null};
    const end = () => resolve(result);
    const fail = (error) => {
      result.error ??= error.code ?? error.message;
      end();
    };
    const request = http.request(`${url}/v1/chat/completions`, {method: 'POST', agent, headers: {'Content-Type': 'application/json', ...headers}}, (response) => {
      result.status = response.statusCode;
      result.served = response.headers['x-served-by'] ?? null;
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines.filter((one) => one.startsWith('data: {'))) {
          const chunk = JSON.parse(line.slice(6));
          if (chunk.error) result.error = chunk.error.message;
          result.text += chunk.choices?.[0]?.delta?.content ?? '';
          result.finish ??= chunk.choices?.[0]?.finish_reason ?? null;
          result.cached = chunk.usage?.prompt_tokens_details?.cached_tokens ?? result.cached;
        }
      });
      response.on('end', end);
      response.on('error', fail);
      response.on('close', end);
    });
    request.setTimeout(30000, () => request.destroy(new Error('timeout')));
    request.on('error', fail);
    request.end(JSON.stringify({messages, stream: true, stream_options: {include_usage: true}, temperature: 0, enable_thinking: false, max_tokens: 60}));
  });
}

class Conversation {
  constructor(id) {
    this.id = id;
    this.messages = [];
    this.turn = 0;
    this.servedBy = [];
  }

  async next() {
    // A conversation of a few turns, then from the beginning: the context is bounded.
    if (this.turn % 4 === 0) this.messages = [];
    const say = ['My name is Velmora and I live in Tavimor.', 'What is 17 plus 25?', "What's my name?", 'What is 30 plus 12?'][this.turn++ % 4];
    this.messages.push({role: 'user', content: say});
    const result = await ask(this.messages, {'X-Conversation-Id': this.id});
    this.messages.push({role: 'assistant', content: result.text});
    this.servedBy.push(result.served);
    if (result.finish === null) this.turn = 0;
    return result;
  }
}

/** Conversations that talk without a pause until `stop()`, which gives all results. */
function load() {
  let running = true;
  const results = [];
  const loops = Array.from({length: kConversations}, async (_, i) => {
    const conversation = new Conversation(`load-${i}`);
    while (running) {
      const result = await conversation.next();
      results.push(result);
      if (result.error) await pause(50);
    }
  });
  return {
    results,
    async stop() {
      running = false;
      await Promise.all(loops);
      return results;
    },
  };
}

const whole = (result) => result.status === 200 && result.finish !== null && result.error === null;
const visible = (result) => result.status !== 200 || result.finish === null || result.error !== null;
const short = ({status, served, finish, error}) => JSON.stringify({status, served, finish, error});

before(async () => {
  const check = spawnSync(haproxy, ['-c', '-f', config], {encoding: 'utf8'});
  assert.equal(check.status, 0, check.stderr);
  assert.doesNotMatch(check.stderr + check.stdout, /WARNING/);
  replicas.push(...await Promise.all([start(), start(), start()]));
  const [port, statsPort] = await freePorts(2);
  url = `http://127.0.0.1:${port}`;
  stats = `http://127.0.0.1:${statsPort}`;
  balancer = spawn(haproxy, ['-db', '-q', '-f', config], {stdio: 'ignore', env: {
    ...process.env,
    QWEN35_BIND: `127.0.0.1:${port}`,
    QWEN35_STATS: `127.0.0.1:${statsPort}`,
    QWEN35_CHECK: '300ms',
    QWEN35_SLOWSTART: '1s',
    ...Object.fromEntries(replicas.map((replica, i) => [`QWEN35_REPLICA_${i + 1}`, `127.0.0.1:${replica.port}`])),
  }});
  process.once('exit', () => balancer.kill('SIGKILL'));
  await until(async () => Object.values(await states()).filter((state) => state === 'UP').length === 3, 'three replicas up');
});

after(async () => {
  agent.destroy();
  balancer?.kill('SIGTERM');
  await Promise.all(replicas.map((replica) => replica.kill()));
});

test('a conversation stays on its replica, and its prefix is warm there', () => whileAllUp(async (attempt) => {
  const conversations = Array.from({length: 9}, (_, i) => new Conversation(attempt === 0 ? `conversation-${i}` : `conversation-${attempt}-${i}`));
  const cached = [];
  await Promise.all(conversations.map(async (conversation) => {
    for (let turn = 0; turn < 3; ++turn) {
      const result = await conversation.next();
      assert.ok(whole(result), short(result));
      if (turn > 0) cached.push(result.cached);
    }
    assert.match(conversation.messages.at(-1).content, /Velmora/);
  }));
  const homes = conversations.map((conversation) => new Set(conversation.servedBy));
  for (const home of homes) assert.equal(home.size, 1, [...home].join());
  assert.ok(new Set(homes.map((home) => [...home][0])).size > 1, 'the conversations are spread');
  for (const count of cached) assert.ok(count > 10, `only ${count} tokens of the prompt were remembered`);
}));

test('without the header the beginning of the conversation chooses, not what comes later', () => whileAllUp(async () => {
  const homes = new Set();
  for (const system of [[], [{role: 'system', content: 'Answer briefly.'}]]) {
    for (let i = 0; i < 6; ++i) {
      const messages = [...system, {role: 'user', content: `What is ${10 + i} plus 25?`}];
      const first = await ask(messages);
      messages.push({role: 'assistant', content: first.text}, {role: 'user', content: [{type: 'text', text: 'What is 5 plus 5?'}]});
      const second = await ask(messages);
      assert.ok(whole(first) && whole(second), short(first) + short(second));
      assert.equal(first.served, second.served);
      homes.add(first.served);
    }
  }
  assert.ok(homes.size > 1, 'not all on one replica');
}));

test('what is not for clients stays inside; errors keep the API’s form', async () => {
  assert.equal((await fetch(`${url}/metrics`)).status, 404);
  assert.equal((await fetch(`${url}/health`)).status, 200);
  assert.match(await (await fetch(url)).text(), /<title>qwen35<\/title>/);
  const wrong = await fetch(`${url}/v1/chat/completions`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"messages": 1}'});
  assert.equal(wrong.status, 400);
  assert.ok((await wrong.json()).error.message);
});

test('a replica is killed under load: every request ends well or visibly, and new ones all end well', {timeout: 120000}, async (t) => {
  const traffic = load();
  t.after(() => traffic.stop());
  await until(async () => traffic.results.length > 60, 'load');
  const victim = replicas[1];
  await victim.kill();
  const killed = Date.now();
  const before = traffic.results.length;
  await until(async () => traffic.results.filter((result) => result.began > killed).length > 120, 'load after the kill');
  replicas[1] = await start(victim.port);
  const back = Date.now();
  await until(async () => traffic.results.some((result) => result.began > back && result.served === 'replica2' && whole(result)), 'the replica has traffic again');
  const results = await traffic.stop();

  const broken = results.filter((result) => !whole(result));
  for (const result of broken) assert.ok(visible(result), short(result));
  assert.equal(results.filter(whole).length + broken.length, results.length);
  // Only what was streaming from the killed replica may have broken.
  assert.ok(broken.length <= kConversations, `${broken.length} of ${results.length} broke`);
  const late = broken.filter((result) => result.began > killed);
  assert.deepEqual(late.map(short), [], 'requests after the kill');
  for (const result of broken) assert.ok(result.served === 'replica2' || result.served === null, short(result));
  for (const result of results.filter(whole)) assert.notEqual(result.text, '', short(result));
  console.log(`# ${results.length} requests, ${before} before the kill; ${broken.length} cut, each seen by its client; none failed after it`);
});

test('a replica is drained under load: nobody notices', {timeout: 120000}, async (t) => {
  await until(async () => Object.values(await states()).every((state) => state === 'UP'), 'all up');
  const traffic = load();
  t.after(() => traffic.stop());
  await until(async () => traffic.results.length > 60, 'load');
  const leaving = replicas[2];
  const status = leaving.stop();
  await until(async () => !(await states()).replica3.startsWith('UP'), 'the balancer knows');
  let late;
  const ended = await Promise.race([status, new Promise((resolve) => {
    late = setTimeout(() => resolve(`not after 45 s:\n${leaving.log().slice(-3000)}`), 45000);
  })]);
  clearTimeout(late);
  assert.equal(ended, 0, 'it ends by itself');
  const gone = Date.now();
  await until(async () => traffic.results.filter((result) => result.began > gone).length > 60, 'load on those that stay');
  const results = await traffic.stop();
  assert.deepEqual(results.filter((result) => !whole(result)).map(short), []);
  assert.ok(results.some((result) => result.served === 'replica3'));
  assert.ok(results.every((result) => result.began < gone || result.served !== 'replica3'));
  replicas[2] = await start(leaving.port);
  assert.equal(await metric(replicas[2], 'qwen35_ready'), 1);
  console.log(`# ${results.length} requests, none failed`);
});
