// The page: puts the parts together and holds what is shown now.
import {apiKey} from './api.js';
import {addNode, branch, findNode, newConversation, removeLeaf, showBranch, shownTitle} from './conversation.js';
import {applyTheme, showHelp, showKey, showSettings} from './dialogs.js';
import {announce, byId, h, icon} from './dom.js';
import {forget, readLocal, writeLocal} from './local.js';
import {spokenText} from './markdown.js';
import {Replies} from './replies.js';
import {Sidebar} from './sidebar.js';
import {canListen, canSpeak, Listener, Speaker} from './speech.js';
import {ServerState} from './status.js';
import {Store} from './store.js';
import {Thread} from './thread.js';
import {download, readConversations} from './transfer.js';

const settings = {theme: 'system', aloud: false, voice: null, sendSpoken: false, defaults: {system: '', options: {thinking: false}},
                  ...readLocal('settings', {})};
const drafts = readLocal('drafts', {});
const store = new Store();
const server = new ServerState();
const conversations = new Map();
let current = newConversation(settings.defaults);
let frame = 0;
const changedNodes = new Set();

const prompt = byId('prompt');
const notices = byId('notices');

// ---- what is shown

const replies = new Replies(store, {
  model: () => server.model ?? undefined,  // the server has one; it need not be named
  kept: (conversation) => conversations.has(conversation.id),
  answered: (how) => {
    if (how === 'offline') server.lost();
    else if (how === 'cut' || server.state !== 'online') server.look();
  },
  keyNeeded: (message) => showKey({message}),
  changed: (conversation, node, done) => {
    if (conversation === current && node) {
      if (node.state === 'streaming' && settings.aloud) speaker.feed(node.content, false);
      changedNodes.add(node);
    }
    if (done || conversation === current) renderSoon(done);
  },
});

const thread = new Thread(byId('thread'), byId('scroller'), byId('to-end'), {
  edit: (node, text) => submit(text, node.parent),
  regenerate: (node) => generate(current, node.parent),
  retry: (node) => generate(current, node.parent),
  answer: (node) => generate(current, node.id),
  stop: () => stop(),
  show: (id) => {
    showBranch(current, id);
    store.save(current);
    render();
    byId('thread').querySelector('.branches button:not([disabled])')?.focus();
  },
  canSpeak,
  speak: (node) => {
    speaker.begin();
    speaker.feed(node.content, true);
  },
});

const sidebar = new Sidebar({
  open: (id) => open(conversations.get(id)),
  create: () => create(),
  rename: (id, title) => {
    const conversation = conversations.get(id);
    Object.assign(conversation, {title, named: true});
    store.save(conversation);
    render();
  },
  remove: (id) => remove(conversations.get(id)),
});

let wholeSoon = false;
function renderSoon(whole) {
  wholeSoon ||= whole;
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (wholeSoon || changedNodes.size === 0) render();
    else for (const node of changedNodes) thread.update(node);
    changedNodes.clear();
    wholeSoon = false;
  });
}

function render() {
  const busy = replies.isRunning(current);
  const empty = current.nodes.length === 0;
  byId('empty').hidden = !empty;
  byId('title').textContent = shownTitle(current);
  document.title = empty ? 'qwen35' : `${shownTitle(current)} – qwen35`;
  document.body.classList.toggle('is-empty', empty);
  thread.show(current, busy);
  sidebar.show([...conversations.values()], current.id, new Set(replies.running.keys()));
  byId('think').setAttribute('aria-pressed', String(current.options.thinking === true));
  byId('aloud').setAttribute('aria-pressed', String(settings.aloud));
  server.showContext(branch(current).filter((node) => node.role === 'assistant').at(-1)?.stats?.context ?? null);
  renderSend();
}

function renderSend() {
  const active = replies.isRunning(current) || speaker.speaking;
  const send = byId('send');
  const name = active ? 'stop' : 'send';
  if (send.dataset.shows !== name) {
    send.dataset.shows = name;
    send.replaceChildren(icon(name));
    send.setAttribute('aria-label', active ? 'Stop' : 'Send');
    send.title = active ? 'Stop (Esc)' : 'Send (Enter)';
  }
  send.disabled = !active && prompt.value.trim() === '';
  byId('listen').setAttribute('aria-pressed', String(listener.listening));
}

const kMiniExamples = ['My name is Zorblaxa and I live in Tavimor.', 'What is 17 plus 25?', 'what is swift', 'Tell me a joke.'];
const kExamples = ['Explain in three sentences why the sky is blue.', 'Write a polite note that declines an invitation.',
                   'What would you cook from rice, eggs and one onion?', 'Show me a loop over a map in C++20, with comments.'];

function renderExamples() {
  const mini = /mini/.test(server.model ?? '');
  byId('empty-text').textContent = mini
    ? 'The bundled model is very small: it remembers what you tell it, does sums, and knows a few hundred facts.'
    : 'Replies are made by the model on your own server. Conversations stay in this browser.';
  byId('examples').replaceChildren(...(mini ? kMiniExamples : kExamples).map((text) => h('li', {}, h('button', {type: 'button', onclick: () => submit(text)}, text))));
}

/** A line above the message box that stays until it is over. */
function notice(id, text, ...more) {
  byId(`notice-${id}`)?.remove();
  if (text) notices.append(h('div', {id: `notice-${id}`, class: 'notice', role: 'alert'}, h('p', {}, text), ...more));
}

function toast(text, action, onclick) {
  const line = h('div', {class: 'toast', role: 'status'}, h('span', {}, text), action ? h('button', {type: 'button', onclick: () => {
    line.remove();
    onclick();
  }}, action) : null);
  byId('toasts').replaceChildren(line);
  setTimeout(() => line.remove(), 10000);
}

// ---- conversations

function open(conversation) {
  if (!conversation) return;
  keepDraft();
  speaker.stop();
  current = conversation;
  writeLocal('current', current.id, sessionStorage);
  notice('failed', null);
  setPrompt(drafts[draftKey(current)] ?? '');
  render();
  prompt.focus();
}

function create() {
  open(current.nodes.length === 0 ? current : newConversation(settings.defaults));
}

function remove(conversation) {
  replies.stop(conversation);
  conversations.delete(conversation.id);
  store.remove(conversation.id);
  if (current === conversation) {
    current = newConversation(settings.defaults);
    setPrompt('');
  }
  render();
  toast(`“${shownTitle(conversation)}” is deleted.`, 'Undo', () => {
    conversations.set(conversation.id, conversation);
    store.write(conversation);
    open(conversation);
  });
}

// A conversation that has not begun has no id that a reload would find again.
const draftKey = (conversation) => (conversation.nodes.length > 0 ? conversation.id : 'new');

function keepDraft() {
  if (prompt.value.trim()) drafts[draftKey(current)] = prompt.value;
  else delete drafts[draftKey(current)];
  writeLocal('drafts', drafts);
}

// ---- sending

function setPrompt(text) {
  prompt.value = text;
  fitPrompt();
  renderSend();
}

function fitPrompt() {
  prompt.style.height = 'auto';
  prompt.style.height = `${Math.min(prompt.scrollHeight, innerHeight * 0.4)}px`;
}

/** Sends a message after `parent` (the end of the branch where not given). */
async function submit(text, parent = current.leaf) {
  const conversation = current;
  if (!text.trim() || replies.isRunning(conversation)) return;
  const before = conversation.leaf;
  // A message that was never answered is not in the way of the next.
  const node = addNode(conversation, parent, 'user', text);
  conversations.set(conversation.id, conversation);
  writeLocal('current', conversation.id, sessionStorage);
  store.save(conversation);
  thread.following = true;
  const failure = await generate(conversation, node.id, {told: true});
  if (!failure || !conversations.has(conversation.id)) return;
  // Not a word came back: the message goes back to where it was typed, unless something new stands there.
  const shown = conversation === current;
  const kept = shown ? prompt.value : drafts[draftKey(conversation)] ?? '';
  const retry = () => {
    notice('failed', null);
    if (conversation !== current) open(conversation);
    if (findNode(conversation, node.id)) generate(conversation, node.id);
    else {
      const typed = prompt.value.trim() === text.trim() ? text : prompt.value;
      setPrompt('');
      submit(typed.trim() ? typed : text, findNode(conversation, parent) ? parent : conversation.leaf);
    }
  };
  if (kept.trim() === '') {
    removeLeaf(conversation, node.id);
    conversation.leaf = findNode(conversation, before) ? before : conversation.leaf;
    if (conversation.nodes.length > 0) {
      store.write(conversation);
    } else {
      conversations.delete(conversation.id);
      store.remove(conversation.id);
    }
    if (shown) setPrompt(text);
    else drafts[draftKey(conversation)] = text;
  }
  if (shown) {
    keepDraft();
    prompt.focus();
    notice('failed', failure.message, h('button', {type: 'button', class: 'secondary', onclick: retry}, 'Try again'));
  }
  render();
}

/**
 * A reply to a node. Resolves to what went wrong if nothing at all came back, else to null; it is shown here unless the caller
 * does (told).
 */
async function generate(conversation, parent, {told = false} = {}) {
  if (replies.isRunning(conversation)) return null;
  notice('failed', null);
  speaker.begin();
  const before = conversation.leaf;
  const running = replies.reply(conversation, parent);
  render();
  const end = await running;
  if (end instanceof Error) {
    if (findNode(conversation, before)) conversation.leaf = before;
    render();
    if (conversation === current && !told) {
      notice('failed', end.message, h('button', {type: 'button', class: 'secondary', onclick: () => generate(conversation, parent)}, 'Try again'));
    }
    return end;
  }
  if (conversation === current) {
    if (settings.aloud && end.state === 'done') speaker.feed(end.content, true);
    announce(end.state === 'done' ? `Reply: ${spokenText(end.content).slice(0, 2000)}` : end.state === 'stopped' ? 'Reply stopped' : 'The reply was cut off');
  }
  return null;
}

/** Whatever is being written or said ends. True if there was something. */
function stop() {
  const was = replies.isRunning(current) || speaker.speaking;
  replies.stop(current);
  speaker.stop();
  return was;
}

function sendPrompt() {
  const text = prompt.value;
  if (!text.trim() || replies.isRunning(current)) return;
  speaker.stop();
  setPrompt('');
  delete drafts[draftKey(current)];
  writeLocal('drafts', drafts);
  submit(text);
}

// ---- speech

const speaker = new Speaker(() => renderSend());
speaker.voice = settings.voice;
let typedBefore = '';
const listener = new Listener({
  start: () => {
    typedBefore = prompt.value && !prompt.value.endsWith(' ') ? `${prompt.value} ` : prompt.value;
    renderSend();
  },
  text: (heard) => setPrompt(typedBefore + heard),
  end: (heard) => {
    renderSend();
    keepDraft();
    if (heard && settings.sendSpoken) sendPrompt();
    else prompt.focus();
  },
  problem: (text) => toast(text),
});

function listen() {
  if (listener.listening) return listener.stop();
  // Whoever begins to speak interrupts: the voice and the reply both end.
  stop();
  listener.start();
}

// ---- settings

function openSettings() {
  showSettings(current, settings, {
    conversationChanged: () => {
      if (current.nodes.length > 0) store.save(current, 400);
      render();
    },
    settingsChanged: () => {
      speaker.voice = settings.voice;
      keepSettings();
    },
    makeDefault: () => {
      settings.defaults = {system: current.system, options: {...current.options}};
      keepSettings();
    },
    exportAll: () => download([...conversations.values()]),
    exportOne: () => download([current]),
    importFile: async (file) => {
      const state = byId('transfer-state');
      try {
        if (file.size > 64 << 20) throw new Error('The file is larger than 64 MB.');
        const found = readConversations(await file.text(), (id) => conversations.has(id));
        for (const one of found) {
          conversations.set(one.id, one);
          await store.write(one);
        }
        state.textContent = `${found.length} conversation${found.length === 1 ? '' : 's'} taken in.`;
        render();
      } catch (error) {
        state.textContent = error.message;
      }
    },
    deleteAll: async () => {
      for (const one of conversations.values()) replies.stop(one);
      conversations.clear();
      await store.clear();
      for (const id of Object.keys(drafts)) delete drafts[id];
      forget('drafts');
      current = newConversation(settings.defaults);
      setPrompt('');
      render();
      announce('All conversations are deleted');
    },
  });
}

const keepSettings = () => writeLocal('settings', settings);

// ---- keys

const isTyping = (target) => target.matches?.('input, textarea, select') ?? false;

function onKey(event) {
  const command = event.ctrlKey || event.metaKey;
  const dialogOpen = document.querySelector('dialog[open]') !== null;
  if (event.isComposing || dialogOpen) return;
  const key = event.key.toLowerCase();
  if (event.key === 'Escape') {
    if (listener.listening) listener.stop();
    sidebar.setOpen(false);
    if (stop()) event.preventDefault();
  } else if (command && !event.shiftKey && key === 'k') {
    event.preventDefault();
    sidebar.focusSearch();
  } else if (command && event.shiftKey && key === 'o') {
    event.preventDefault();
    create();
  } else if (command && key === ',') {
    event.preventDefault();
    openSettings();
  } else if (!command && !event.altKey && event.key === '?' && !isTyping(event.target)) {
    event.preventDefault();
    showHelp();
  } else if (!command && !event.altKey && event.key === '/' && !isTyping(event.target)) {
    event.preventDefault();
    prompt.focus();
  }
}

prompt.addEventListener('keydown', (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === 'Enter' && !event.shiftKey && !event.ctrlKey && !event.altKey) {
    event.preventDefault();
    sendPrompt();
  } else if (event.key === 'ArrowUp' && prompt.value === '' && current.nodes.length > 0) {
    event.preventDefault();
    thread.editLast();
  }
});

// ---- the beginning

async function begin() {
  applyTheme(settings.theme);
  store.addEventListener('problem', (event) => notice('store', event.detail));
  store.addEventListener('changed', async (event) => {
    const id = event.detail;
    const known = conversations.get(id);
    if (known && replies.isRunning(known)) return;
    if (id === null) {
      for (const one of conversations.values()) if (!replies.isRunning(one)) conversations.delete(one.id);
      return renderSoon(true);
    }
    const fresh = await store.read(id);
    if (!fresh) conversations.delete(id);
    else if (known) Object.assign(known, fresh);
    else conversations.set(id, fresh);
    renderSoon(true);
  });
  server.addEventListener('online', () => {
    notice('server', null);
    renderExamples();
    render();
  });
  server.addEventListener('offline', () => notice('server', 'The server does not answer. This page keeps trying; what you write stays here.'));
  server.addEventListener('key', async () => {
    if (await showKey({message: `This server wants an API key${apiKey() ? ', and another one than was given' : ''}.`})) server.look({newKey: true});
  });

  byId('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    if (replies.isRunning(current) || speaker.speaking) stop();
    else sendPrompt();
    prompt.focus();
  });
  prompt.addEventListener('input', () => {
    fitPrompt();
    renderSend();
    keepDraft();
  });
  byId('think').addEventListener('click', () => {
    current.options.thinking = current.options.thinking !== true;
    if (current.nodes.length > 0) store.save(current);
    render();
  });
  byId('aloud').hidden = !canSpeak();
  byId('aloud').addEventListener('click', () => {
    settings.aloud = !settings.aloud;
    if (!settings.aloud) speaker.stop();
    keepSettings();
    render();
  });
  byId('listen').append(icon('mic'));
  byId('listen').hidden = !canListen();
  byId('listen').addEventListener('click', listen);
  byId('open-settings').addEventListener('click', openSettings);
  byId('open-help').addEventListener('click', showHelp);
  document.addEventListener('keydown', onKey);
  addEventListener('pagehide', () => {
    speaker.stop();
    keepDraft();
    replies.journal();
    store.flush();
  });
  // Back from the browser's cache: what streamed was cut off meanwhile and is read from the journal.
  addEventListener('pageshow', (event) => event.persisted && location.reload());
  addEventListener('resize', fitPrompt);

  render();
  renderExamples();
  server.look();
  for (const one of await store.open()) {
    // What nobody writes any more: the page or the browser went away without a word.
    for (const node of one.nodes) {
      if (node.state === 'streaming') Object.assign(node, {state: 'cut', waiting: null, problem: {text: 'The page was closed before the reply was whole.', retry: true}});
    }
    conversations.set(one.id, one);
  }
  const last = conversations.get(readLocal('current', null, sessionStorage));
  if (last && current.nodes.length === 0) current = last;
  setPrompt(prompt.value || (drafts[draftKey(current)] ?? ''));
  render();
  document.body.dataset.ready = 'yes';
  if (matchMedia('(hover: hover)').matches) prompt.focus();
}

begin();
