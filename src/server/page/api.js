// Talks to the server: one place for fetch, the key, and what can go wrong.
import {forget, readLocal, writeLocal} from './local.js';

/** What went wrong. kind: offline (no answer), cut (the stream ended early), key (401), busy (429 or 503), refused (else). */
export class ApiError extends Error {
  constructor(kind, message, {status = 0, code = null, retryAfter = null} = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;  // seconds, or null
  }
}

const kKey = 'key';

/** The API key: for this tab, or for good where the user asked for it. */
export function apiKey() {
  return readLocal(kKey, null, sessionStorage) ?? readLocal(kKey, null);
}

export function setApiKey(key, remember) {
  forget(kKey, sessionStorage);
  forget(kKey);
  if (key) writeLocal(kKey, key, remember ? localStorage : sessionStorage);
}

function headers(more) {
  const key = apiKey();
  return {...(key ? {Authorization: `Bearer ${key}`} : {}), ...more};
}

function retrySeconds(response) {
  const value = response.headers.get('Retry-After');
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 300) : null;
}

async function failure(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // A proxy's page, or nothing: the status says it.
  }
  const {status} = response;
  const kind = status === 401 ? 'key' : status === 429 || status === 503 ? 'busy' : 'refused';
  const message = typeof error.message === 'string' ? error.message : `The server answered ${status} ${response.statusText}`.trim();
  return new ApiError(kind, message, {status, code: error.code, retryAfter: retrySeconds(response)});
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, {credentials: 'same-origin', cache: 'no-store', ...options, headers: headers(options?.headers)});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('offline', 'The server does not answer.');
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function getJson(path, signal) {
  const response = await request(path, {signal});
  try {
    return await response.json();
  } catch {
    throw new ApiError('refused', `${path} did not answer in JSON.`, {status: response.status});
  }
}

// The events of an event stream, as the text of their data lines.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let line = '';
  let data = [];
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      const pieces = (line + value).split(/\r\n|\n|\r(?!$)/);
      line = pieces.pop();
      for (const piece of pieces) {
        if (piece === '') {
          if (data.length > 0) yield data.join('\n');
          data = [];
        } else if (piece.startsWith('data:')) {
          data.push(piece.slice(piece[5] === ' ' ? 6 : 5));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * One reply, as it comes: {content}, {reasoning}, {finish}, {usage}, {timings}. Ends only after a finish reason; a stream that
 * ends without one throws, as does everything else that is not a whole reply.
 */
export async function* streamReply(body, {signal, conversation}) {
  const response = await request('/v1/chat/completions', {
    method: 'POST',
    signal,
    headers: {'Content-Type': 'application/json', 'X-Conversation-Id': conversation},
    body: JSON.stringify({...body, stream: true, stream_options: {include_usage: true}}),
  });
  let finished = false;
  try {
    for await (const data of events(response.body)) {
      if (data === '[DONE]') break;
      let chunk;
      try {
        chunk = JSON.parse(data);
      } catch {
        throw new ApiError('cut', 'The server sent something that is not JSON in the middle of the reply.');
      }
      if (chunk.error) throw new ApiError('cut', String(chunk.error.message ?? 'The server gave up in the middle of the reply.'));
      const choice = chunk.choices?.[0];
      const delta = choice?.delta ?? {};
      if (typeof delta.reasoning_content === 'string' && delta.reasoning_content) yield {reasoning: delta.reasoning_content};
      if (typeof delta.content === 'string' && delta.content) yield {content: delta.content};
      if (chunk.usage) yield {usage: chunk.usage};
      if (chunk.timings) yield {timings: chunk.timings};
      if (choice?.finish_reason) {
        finished = true;
        yield {finish: choice.finish_reason};
      }
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('cut', 'The connection was lost in the middle of the reply.');
  }
  if (!finished) throw new ApiError('cut', 'The connection ended before the reply did.');
}
