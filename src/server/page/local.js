// Small values in localStorage (or sessionStorage): settings, drafts, the key. A browser that refuses storage loses them at
// reload and nothing else.
const kPrefix = 'qwen35.';

export function readLocal(name, fallback, storage = localStorage) {
  try {
    const text = storage.getItem(kPrefix + name);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** Whether it was kept. */
export function writeLocal(name, value, storage = localStorage) {
  try {
    storage.setItem(kPrefix + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function forget(name, storage = localStorage) {
  try {
    storage.removeItem(kPrefix + name);
  } catch {
    // Refused storage holds nothing.
  }
}
