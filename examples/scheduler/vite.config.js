import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import { loadEnvFile } from './lib/config.js';

loadEnvFile();

const api = process.env.API_URL || 'http://127.0.0.1:4000';
const hosts = (process.env.WEB_ALLOWED_HOSTS || '').split(',').map((host) => host.trim()).filter(Boolean);

export default defineConfig({
  root: 'web',
  cacheDir: '../node_modules/.vite',
  plugins: [react()],
  build: { outDir: '../dist', emptyOutDir: true },
  optimizeDeps: { include: ['react', 'react-dom/client', 'react/jsx-dev-runtime'] },
  server: {
    host: '127.0.0.1',
    port: Number(process.env.PORT || 5173),
    strictPort: true,
    allowedHosts: hosts.includes('*') ? true : hosts,
    // The browser only ever talks to its own origin; /api, WebSocket included, goes on to the api.
    proxy: { '/api': { target: api, ws: true } },
    warmup: { clientFiles: ['./src/main.tsx'] },
  },
});
