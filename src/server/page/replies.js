// Making replies: streams them into nodes, measures, waits where the server is busy, and says what went wrong in place.
import {ApiError, streamReply} from './api.js';
import {addNode, messages, removeLeaf, requestOptions} from './conversation.js';

const kTries = 6;        // when the server is busy
const kSaveEvery = 1000; // ms, while a reply streams

const pause = (ms, signal) => new Promise((resolve, reject) => {
  const stop = () => {
    clearTimeout(timer);
    reject(new DOMException('stopped', 'AbortError'));
  };
  const timer = setTimeout(() => {
    signal.removeEventListener('abort', stop);
    resolve();
  }, ms);
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, {once: true});
});

export class Replies {
  /**
   * handlers: changed(conversation, node, done), keyNeeded(message) → promise of whether a key was given, kept(conversation):
   * it was not deleted meanwhile, answered(how): 'yes' or an error's kind, model() → its name.
   */
  constructor(store, handlers) {
    this.store = store;
    this.handlers = handlers;
    this.running = new Map();  // conversation id → {conversation, node, abort}
    this.leaving = false;      // the page goes away: what the browser cuts off now was no error
  }

  isRunning(conversation) {
    return this.running.has(conversation.id);
  }

  stop(conversation) {
    this.running.get(conversation.id)?.abort.abort();
  }

  /** Keeps what streams now, for the page is going away. */
  journal() {
    this.leaving = true;
    this.store.journal([...this.running.values()].map(({conversation, node}) => ({
      conversation: conversation.id,
      node: {...node, state: 'cut', waiting: null, problem: {text: 'The page was closed or reloaded before the reply was whole.', retry: true}},
    })));
  }

  /**
   * A reply to the node `parent`. Resolves to its node when it ended in whatever way, or to an ApiError where not a word of it
   * came: then no trace of the reply is left in the conversation.
   */
  async reply(conversation, parent) {
    const node = addNode(conversation, parent, 'assistant', '', {reasoning: '', state: 'streaming', finish: null, stats: {}});
    const run = {conversation, node, abort: new AbortController()};
    this.running.set(conversation.id, run);
    this.handlers.changed(conversation, node, false);
    let error = null;
    try {
      await this.withPatience(run);
    } catch (caught) {
      error = caught;
    }
    if (this.leaving) return node;
    this.running.delete(conversation.id);
    node.waiting = null;
    const nothing = !node.content && !node.reasoning;
    if (error && error.name !== 'AbortError') {
      if (!(error instanceof ApiError)) error = new ApiError('refused', `The page failed: ${error.message}`);
      this.handlers.answered(error.kind);
      if (nothing) {
        removeLeaf(conversation, node.id);
        this.keep(conversation);
        this.handlers.changed(conversation, null, true);
        return error;
      }
      node.state = 'cut';
      node.problem = {text: `${error.message} What came is kept.`, retry: true};
    } else {
      node.state = error ? 'stopped' : 'done';
    }
    this.keep(conversation);
    this.handlers.changed(conversation, node, true);
    return node;
  }

  // A conversation that was deleted while its reply ran stays deleted.
  keep(conversation) {
    if (this.handlers.kept(conversation)) this.store.write(conversation);
  }

  // Tries again where the server said that it is busy, and after a key was given.
  async withPatience(run) {
    for (let tries = 1;; ++tries) {
      try {
        return await this.stream(run);
      } catch (error) {
        if (error.kind === 'key') {
          if (await this.handlers.keyNeeded(error.message)) continue;
          throw error;
        }
        const nothing = !run.node.content && !run.node.reasoning;
        if (error.kind !== 'busy' || !nothing || tries >= kTries) throw error;
        const wait = Math.ceil(error.retryAfter ?? Math.min(2 ** tries, 20));
        for (let left = Math.max(wait, 1); left > 0; --left) {
          run.node.waiting = `The server is busy. Trying again in ${left} s.`;
          this.handlers.changed(run.conversation, run.node, false);
          await pause(1000, run.abort.signal);
        }
        run.node.waiting = null;
        this.handlers.changed(run.conversation, run.node, false);
      }
    }
  }

  async stream({conversation, node, abort}) {
    const body = {model: this.handlers.model(), messages: messages(conversation, node.parent), ...requestOptions(conversation.options)};
    const {stats} = node;
    const began = performance.now();
    let first = null;
    let last = began;
    let pieces = 0;
    let saved = began;
    for await (const event of streamReply(body, {signal: abort.signal, conversation: conversation.id})) {
      const now = performance.now();
      if (event.reasoning || event.content) {
        if (first === null) {
          first = now;
          stats.first = now - began;
        }
        if (event.reasoning) node.reasoning += event.reasoning;
        if (event.content) {
          if (node.reasoning && !node.content) stats.thought = now - first;
          node.content += event.content;
        }
        last = now;
        pieces += 1;
        // Measured here until the server says better: pieces are nearly tokens.
        stats.tokens = pieces;
        if (last > first) stats.rate = (pieces - 1) / ((last - first) / 1000);
      }
      if (event.usage) takeUsage(stats, event.usage, first === null ? 0 : last - first);
      if (event.timings) takeTimings(stats, event.timings);
      if (event.finish) node.finish = event.finish;
      if (now - saved > kSaveEvery && this.handlers.kept(conversation)) {
        saved = now;
        this.store.save(conversation);
      }
      this.handlers.changed(conversation, node, false);
    }
    if (node.reasoning && !node.content && first !== null) stats.thought = last - first;
    this.handlers.answered('yes');
  }
}

const positive = (value) => Number.isFinite(value) && value > 0;

function takeUsage(stats, usage, streamed) {
  if (positive(usage.completion_tokens)) {
    stats.tokens = usage.completion_tokens;
    if (streamed > 0 && stats.tokens > 1) stats.rate = (stats.tokens - 1) / (streamed / 1000);
  }
  if (positive(usage.prompt_tokens)) {
    stats.prompt = usage.prompt_tokens;
    stats.context = usage.prompt_tokens + (usage.completion_tokens ?? 0);
    const cached = usage.prompt_tokens_details?.cached_tokens;
    if (positive(cached)) stats.cached = cached;
  }
}

function takeTimings(stats, timings) {
  if (positive(timings.tokens_per_second)) stats.rate = timings.tokens_per_second;
}
