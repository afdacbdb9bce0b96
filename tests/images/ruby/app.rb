require "json"
require "sinatra"

set :server, "webrick"
set :bind, "0.0.0.0"
set :port, 4567

get "/" do
  content_type :json
  JSON.generate(hello: "ruby")
end
