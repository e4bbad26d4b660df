const quote = (value) => {
  const text = String(value);
  return /^[\w.:/@%+-]+$/.test(text) ? text : JSON.stringify(text);
};

function write(level, message, fields = {}) {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => ` ${key}=${quote(value)}`)
    .join('');
  console.log(`${new Date().toISOString()} ${level.padEnd(5)} ${message}${rest}`);
}

/** One line per event: time, level, what happened, then key=value pairs. */
export const log = {
  info: (message, fields) => write('info', message, fields),
  warn: (message, fields) => write('warn', message, fields),
  error: (message, fields) => write('error', message, fields),
};

export const silent = { info() {}, warn() {}, error() {} };
