// Conversations as a JSON file, out and in. A file from elsewhere is hostile: everything in it is checked, and only what is
// known is taken.
import {kRoles} from './conversation.js';
import {h, randomId} from './dom.js';

const kForm = 'qwen35-conversations';
const kMaxBytes = 64 << 20;
const kMaxConversations = 10000;
const kMaxNodes = 10000;

export function download(conversations) {
  const text = JSON.stringify({form: kForm, version: 1, exported: new Date().toISOString(), conversations}, null, 1);
  const url = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
  const stamp = new Date().toISOString().slice(0, 10);
  const anchor = h('a', {href: url, download: `qwen35-conversations-${stamp}.json`});
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

const isText = (value, most = 4 << 20) => typeof value === 'string' && value.length <= most;
const time = (value) => (Number.isFinite(value) && value > 0 && value < 1e14 ? value : Date.now());

function stats(value) {
  const taken = {};
  for (const name of ['rate', 'first', 'tokens', 'thought', 'cached', 'prompt', 'context']) {
    if (Number.isFinite(value?.[name]) && value[name] >= 0) taken[name] = value[name];
  }
  return taken;
}

function takeNode(node, ids, where) {
  if (!node || typeof node !== 'object' || !isText(node.id, 64) || !node.id || ids.has(node.id)) throw new Error(`${where} has no id of its own.`);
  if (node.parent !== null && !ids.has(node.parent)) throw new Error(`${where} follows a message that is not before it.`);
  if (!kRoles.includes(node.role) || !isText(node.content)) throw new Error(`${where} has no role or text that this page knows.`);
  const taken = {id: node.id, parent: node.parent, role: node.role, content: node.content, created: time(node.created)};
  if (node.role === 'assistant') {
    taken.reasoning = isText(node.reasoning) ? node.reasoning : '';
    taken.state = ['done', 'stopped', 'cut'].includes(node.state) ? node.state : 'cut';
    taken.finish = isText(node.finish, 32) ? node.finish : null;
    taken.stats = stats(node.stats);
  }
  return taken;
}

const kOptionNames = ['temperature', 'top_p', 'top_k', 'max_tokens', 'thinking_budget', 'seed'];

export function takeOptions(value) {
  const taken = {thinking: value?.thinking === true};
  for (const name of kOptionNames) {
    if (Number.isFinite(value?.[name])) taken[name] = value[name];
  }
  return taken;
}

/** The conversations in a file's text, under ids of their own where `taken(id)`. Throws an Error that says what is wrong. */
export function readConversations(text, isTaken) {
  if (text.length > kMaxBytes) throw new Error(`The file is larger than ${kMaxBytes >> 20} MB.`);
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error('The file is not JSON.');
  }
  if (file?.form !== kForm || !Array.isArray(file.conversations)) throw new Error('The file does not hold conversations of this page.');
  if (file.version !== 1) throw new Error(`The file is of version ${String(file.version).slice(0, 20)}; this page reads version 1.`);
  if (file.conversations.length > kMaxConversations) throw new Error(`The file holds more than ${kMaxConversations} conversations.`);
  return file.conversations.map((one, index) => {
    const where = `Conversation ${index + 1}`;
    if (!Array.isArray(one?.nodes) || one.nodes.length > kMaxNodes) throw new Error(`${where} has no list of at most ${kMaxNodes} messages.`);
    const ids = new Set();
    const nodes = one.nodes.map((node, i) => {
      const taken = takeNode(node, ids, `${where}, message ${i + 1}`);
      ids.add(taken.id);
      return taken;
    });
    return {
      id: /^[0-9a-f]{32}$/.test(one.id) && !isTaken(one.id) ? one.id : randomId(),
      title: isText(one.title, 200) ? one.title : '',
      named: one.named === true,
      created: time(one.created),
      updated: time(one.updated),
      system: isText(one.system) ? one.system : '',
      options: takeOptions(one.options),
      nodes,
      leaf: ids.has(one.leaf) ? one.leaf : nodes.at(-1)?.id ?? null,
    };
  });
}
