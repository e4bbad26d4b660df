import { fileURLToPath } from 'node:url';

/** Reads .env next to package.json, if there is one. The real environment wins. */
export function loadEnvFile() {
  try {
    process.loadEnvFile(fileURLToPath(new URL('../.env', import.meta.url)));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

/** The settings of the api, the worker and the scripts; exits with a clear message if one is missing. */
export function readConfig({ needs = ['DATABASE_URL', 'REDIS_URL'] } = {}) {
  loadEnvFile();
  const missing = needs.filter((name) => !process.env[name]);
  if (missing.length > 0) {
    console.error(`${missing.join(' and ')} must be set. See .env.example.`);
    process.exit(2);
  }
  const port = Number(process.env.PORT || 4000);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    console.error(`PORT must be a port number, not "${process.env.PORT}".`);
    process.exit(2);
  }
  return {
    port,
    host: '127.0.0.1',
    databaseUrl: process.env.DATABASE_URL,
    redisUrl: process.env.REDIS_URL,
    redisPrefix: process.env.REDIS_PREFIX || 'scheduler:',
  };
}
