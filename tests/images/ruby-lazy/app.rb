require "sinatra"

$LOAD_PATH.unshift File.expand_path("lib", __dir__)

module Shop
  autoload :Cart, "shop/cart"
  autoload :Receipt, "shop/receipt"
end

set :server, "webrick"
set :bind, "0.0.0.0"
set :port, 4567

get "/" do
  "hello ruby-lazy"
end

# Nothing below is touched by a probe of "/".
get "/autoload" do
  Shop::Cart.new.total.to_s
end

get "/library" do
  require "csv"
  CSV.parse("a,b\n1,2").to_a.inspect
end

get "/extension" do
  require "bigdecimal"
  (BigDecimal("0.1") + BigDecimal("0.2")).to_s
end

get "/relative" do
  require_relative "lib/late"
  late
end

get "/plugin/:name" do
  require_relative "plugins/#{params["name"]}"
  plugin
end

get "/view" do
  @name = "view"
  erb :page
end

get "/data" do
  File.read(File.join(__dir__, "data", "words.txt"))
end

get "/encoding" do
  "Grüezi".encode("ISO-8859-15").bytes.sum.to_s
end
