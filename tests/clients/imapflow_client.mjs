// Run by imapflow_client.py.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';

const { ImapFlow } = createRequire(import.meta.url)(process.env.IMAPFLOW);
const { PORT, LMTP, CA, MAIL_USER, MAIL_PASSWORD } = process.env;

function deliver(subject) {
    const lines = ['LHLO test', 'MAIL FROM:<a@example.org>', `RCPT TO:<${MAIL_USER}>`, 'DATA', `Subject: ${subject}\r\n\r\nx\r\n.`, 'QUIT'];
    return new Promise((resolve, reject) => {
        const socket = net.connect(Number(LMTP), '127.0.0.1');
        let text = '';
        socket.on('error', reject);
        socket.on('data', (chunk) => {
            text += chunk;
            if (!text.endsWith('\r\n') || /^\d{3}-[^\n]*\n$/.test(text.split('\r\n').at(-2) + '\n')) return;
            text = '';
            const next = lines.shift();
            if (next) socket.write(next + '\r\n');
        });
        socket.on('close', resolve);
    });
}

const client = new ImapFlow({
    host: 'localhost', port: Number(PORT), secure: true, logger: false,
    auth: { user: MAIL_USER, pass: MAIL_PASSWORD }, tls: { ca: readFileSync(CA) },
});
await client.connect();

const mailboxes = await client.list();
assert.equal(mailboxes.find((one) => one.specialUse === '\\Sent')?.path, 'Sent');

await client.mailboxCreate('Work/2024');
await client.mailboxSubscribe('Work/2024');
await client.mailboxRename('Work', 'Archive/Work');
const renamed = (await client.list()).find((one) => one.path === 'Archive/Work/2024');
assert.ok(renamed?.subscribed, 'the renamed folder is subscribed');

const lock = await client.getMailboxLock('INBOX');
try {
    const { content } = await client.download('1', undefined, { uid: true });
    let source = '';
    for await (const chunk of content) source += chunk;
    assert.match(source, /Subject: first\r\n/);
    assert.match(source, /to be downloaded/);

    const exists = new Promise((resolve) => client.once('exists', resolve));
    const idle = client.idle();
    await new Promise((resolve) => setImmediate(resolve));
    await deliver('second');
    const event = await Promise.race([exists, new Promise((_, reject) => setTimeout(() => reject(new Error('no EXISTS in IDLE')), 20000))]);
    assert.equal(event.count, 2);
    await client.noop();
    await idle;

    const subjects = [];
    for await (const message of client.fetch('1:*', { envelope: true, flags: true, bodyStructure: true })) subjects.push(message.envelope.subject);
    assert.deepEqual(subjects, ['first', 'second']);
    await client.messageFlagsAdd('1', ['\\Seen', '$Label'], { uid: true });
    assert.deepEqual(await client.search({ seen: true }, { uid: true }), [1]);
    const moved = await client.messageMove('2', 'Archive/Work/2024', { uid: true });
    assert.equal(moved.uidMap.get(2), 1);
    assert.equal(client.mailbox.exists, 1);
    const status = await client.status('Archive/Work/2024', { messages: true, uidNext: true });
    assert.deepEqual([status.messages, status.uidNext], [1, 2]);
} finally {
    lock.release();
}
await client.logout();
console.log('all as expected');
