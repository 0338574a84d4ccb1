// An Express app behind one proxy: `trust proxy` and a login by express-session with a secure cookie.
//
// Started by tests/frameworks as `node express_app.js`. The environment says APP_NAME (which of the two backends this
// is), TLS_CERT and TLS_KEY; the address is printed once it listens.
'use strict'

const fs = require('node:fs')
const https = require('node:https')
const express = require('express')
const session = require('express-session')

const app = express()
// One hop, Crossfade, whatever stands in front of it: it hands on one value of each.
app.set('trust proxy', 1)
app.use((request, response, next) => {
  response.set('X-App', process.env.APP_NAME || 'express')
  next()
})
app.use(express.urlencoded({ extended: false }))
app.use(session({
  secret: 'made up, the same on both backends',
  resave: false,
  saveUninitialized: false,
  // Not set at all where the app believes the visitor came by http: the login loop that this app is here for.
  cookie: { secure: true, sameSite: 'lax' }
}))

const absolute = (request, path) => `${request.protocol}://${request.host}${path}`

// What the app believes about the request, and every header that reached it.
app.get('/whoami', (request, response) => {
  const headers = []
  for (let i = 0; i < request.rawHeaders.length; i += 2) headers.push(request.rawHeaders.slice(i, i + 2))
  response.json({
    root: absolute(request, '/'),
    here: absolute(request, request.originalUrl),
    scheme: request.protocol,
    host: request.host,
    remote_addr: request.ip,
    secure: request.secure,
    headers
  })
})

// What a login is for: without one it sends the visitor to /login.
app.get('/account', (request, response) => {
  if (!request.session.visitor) return response.redirect('/login')
  response.json({ account: 'open' })
})

app.get('/login', (request, response) => response.send('<form method="post"><input name="visitor"></form>'))

app.post('/login', (request, response) => {
  request.session.visitor = request.body.visitor
  request.session.save(() => response.redirect(absolute(request, '/account')))
})

// A redirect by the framework's own idea of where it is.
app.get('/absolute', (request, response) => response.redirect(absolute(request, '/landed')))

// A redirect and a cookie by an app that knows only the address it was called by.
app.get('/own-address', (request, response) => {
  const own = request.headers.host
  response.cookie('legacy', '1', { domain: own.split(':')[0], secure: true })
  response.redirect(`https://${own}/landed`)
})

app.get('/landed', (request, response) => response.send('landed'))

const tls = { cert: fs.readFileSync(process.env.TLS_CERT), key: fs.readFileSync(process.env.TLS_KEY) }
const server = https.createServer(tls, app)
server.listen(0, '127.0.0.1', () => console.log(`listening at https://127.0.0.1:${server.address().port}`))
