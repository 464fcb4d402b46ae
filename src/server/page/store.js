// Where conversations are kept: IndexedDB of this browser, nowhere else. What streams when the page goes away is written at
// once to localStorage, for IndexedDB gets no time then; the next start puts the two together.
import {findNode} from './conversation.js';
import {forget, readLocal, writeLocal} from './local.js';

const kTable = 'conversations';
const kJournal = 'journal';

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('qwen35', 1);
    request.onupgradeneeded = () => request.result.createObjectStore(kTable, {keyPath: 'id'});
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error('blocked'));
  });
}

export class Store extends EventTarget {
  /** Events: 'problem' (detail: text to show, or null when it is over) and 'changed' (detail: id; another tab wrote it). */
  constructor() {
    super();
    this.database = null;
    this.failing = false;
    this.writes = new Map();  // id → {timer, conversation} of a write that waits
    this.channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel('qwen35') : null;
    if (this.channel) {
      this.channel.onmessage = (event) => this.dispatchEvent(new CustomEvent('changed', {detail: event.data}));
    }
  }

  /** All conversations, with what a reload cut off. Never fails: a browser that keeps nothing has none. */
  async open() {
    let all = [];
    try {
      this.database = await openDatabase();
      this.database.onversionchange = () => this.database.close();
      all = await done(this.database.transaction(kTable).objectStore(kTable).getAll());
    } catch {
      this.database = null;
      this.problem('This browser keeps nothing for this page (a private window?). Conversations last until you close it.');
    }
    const journal = readLocal(kJournal, []);
    forget(kJournal);
    for (const {conversation: id, node: kept} of Array.isArray(journal) ? journal : []) {
      const conversation = all.find((one) => one.id === id);
      const node = conversation && findNode(conversation, kept.id);
      // Only what had not ended: a page that came back from the browser's cache may have ended it after all.
      if (node && node.state === 'streaming') Object.assign(node, kept);
      else if (conversation && !node && findNode(conversation, kept.parent)) {
        conversation.nodes.push(kept);
        conversation.leaf = kept.id;
      }
    }
    return all;
  }

  async read(id) {
    return this.database ? done(this.database.transaction(kTable).objectStore(kTable).get(id)).catch(() => null) : null;
  }

  /** Writes soon; many changes in a row are one write. */
  save(conversation, delay = 150) {
    this.forgetWrite(conversation.id);
    this.writes.set(conversation.id, {conversation, timer: setTimeout(() => this.write(conversation), delay)});
  }

  /** Writes now what waits: the page may be going away. */
  flush() {
    for (const {conversation} of this.writes.values()) this.write(conversation);
  }

  async write(conversation) {
    this.forgetWrite(conversation.id);
    await this.change((table) => table.put(conversation), conversation.id);
  }

  async remove(id) {
    this.forgetWrite(id);
    await this.change((table) => table.delete(id), id);
  }

  async clear() {
    for (const id of [...this.writes.keys()]) this.forgetWrite(id);
    await this.change((table) => table.clear(), null);
  }

  forgetWrite(id) {
    clearTimeout(this.writes.get(id)?.timer);
    this.writes.delete(id);
  }

  async change(action, id) {
    if (!this.database) return;
    try {
      const transaction = this.database.transaction(kTable, 'readwrite');
      action(transaction.objectStore(kTable));
      transaction.commit?.();  // without waiting for events that a closing page does not get
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
        transaction.onerror = () => reject(transaction.error);
      });
      this.channel?.postMessage(id);
      if (this.failing) this.problem(null);
    } catch (error) {
      this.problem(error?.name === 'QuotaExceededError'
        ? 'The browser’s storage is full: new text is not kept. Export conversations, then delete some.'
        : `The browser could not keep this conversation (${error?.name ?? 'unknown error'}). Export it to be safe.`);
    }
  }

  problem(text) {
    this.failing = text !== null;
    this.dispatchEvent(new CustomEvent('problem', {detail: text}));
  }

  /** Keeps replies that are being streamed, now and without waiting: the page may be going away. */
  journal(entries) {
    if (entries.length > 0) writeLocal(kJournal, entries);
    else forget(kJournal);
  }
}
