// A conversation is a tree: an edit or a new reply is one more child, and nothing that was said is lost.
//
// {id, title, named, created, updated, system, options, nodes: [{id, parent, role, content, ...}], leaf}
// A parent stands before its children in `nodes`. `leaf` is the end of the branch that is shown. Replies also have reasoning,
// state ('streaming', 'done', 'stopped', 'cut'), finish, problem and stats.
import {randomId} from './dom.js';

export const kRoles = ['user', 'assistant'];

export function newConversation(defaults = {}) {
  const now = Date.now();
  return {
    id: randomId(),
    title: '',
    named: false,
    created: now,
    updated: now,
    system: defaults.system ?? '',
    options: {...(defaults.options ?? {})},
    nodes: [],
    leaf: null,
  };
}

export const findNode = (conversation, id) => conversation.nodes.find((node) => node.id === id) ?? null;

export function addNode(conversation, parent, role, content, more = {}) {
  const node = {id: randomId(), parent, role, content, created: Date.now(), ...more};
  conversation.nodes.push(node);
  conversation.leaf = node.id;
  conversation.updated = node.created;
  if (role === 'user' && !conversation.named && parent === null) conversation.title = titleOf(content);
  return node;
}

/** Takes back a node that has no children, as if it had not been added. */
export function removeLeaf(conversation, id) {
  const node = findNode(conversation, id);
  if (!node || conversation.nodes.some((other) => other.parent === id)) return;
  conversation.nodes = conversation.nodes.filter((other) => other !== node);
  if (conversation.leaf === id) showBranch(conversation, siblings(conversation, node).at(-1)?.id ?? node.parent);
}

/** The nodes of the shown branch, first to last. */
export function branch(conversation, leaf = conversation.leaf) {
  const byId = new Map(conversation.nodes.map((node) => [node.id, node]));
  const path = [];
  for (let node = byId.get(leaf); node; node = byId.get(node.parent)) path.push(node);
  return path.reverse();
}

/** The other ways the conversation went on at this place, this one included, oldest first. */
export function siblings(conversation, node) {
  return conversation.nodes.filter((other) => other.parent === node.parent && other.role === node.role);
}

/** Shows the branch through `id`, to its newest end. */
export function showBranch(conversation, id) {
  let end = id;
  for (const node of conversation.nodes) {
    if (node.parent === end) end = conversation.nodes.filter((other) => other.parent === end).at(-1).id;
  }
  conversation.leaf = end;
}

export function titleOf(text) {
  const line = text.trim().split('\n')[0].replace(/\s+/g, ' ');
  return line.length > 60 ? `${line.slice(0, 57).trimEnd()}…` : line;
}

export const shownTitle = (conversation) => conversation.title || 'New conversation';

/** The messages to send for a reply after `leaf`. Replies of which nothing came are left out. */
export function messages(conversation, leaf) {
  const list = conversation.system.trim() ? [{role: 'system', content: conversation.system}] : [];
  for (const node of branch(conversation, leaf)) {
    if (node.role === 'user' || node.content) list.push({role: node.role, content: node.content});
  }
  return list;
}

/** The sampling fields that the user set; the others are the model's own. */
export function requestOptions(options) {
  const body = {enable_thinking: options.thinking === true};
  for (const name of ['temperature', 'top_p', 'top_k', 'max_tokens', 'seed']) {
    if (typeof options[name] === 'number') body[name] = options[name];
  }
  if (body.enable_thinking && typeof options.thinking_budget === 'number') body.thinking_budget = options.thinking_budget;
  return body;
}

/** Whether a conversation holds all words of a search. */
export function matches(conversation, words) {
  if (words.length === 0) return true;
  const text = [shownTitle(conversation), ...conversation.nodes.map((node) => node.content)].join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}
